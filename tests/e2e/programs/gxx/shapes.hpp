#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Shape {
	virtual ~Shape() = default;
	virtual double area() const = 0;
};

template <typename T, typename... Args>
std::unique_ptr<Shape> make(Args... args)
{
	return std::make_unique<T>(args...);
}

std::map<std::string, double> areas(const std::string &text);
