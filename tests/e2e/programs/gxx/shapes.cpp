#include "shapes.hpp"

namespace {
struct Square : Shape {
	explicit Square(double side) : side(side) {}
	double area() const override { return side * side; }
	double side;
};
struct Oblong : Shape {
	Oblong(double a, double b) : a(a), b(b) {}
	double area() const override { return a * b; }
	double a, b;
};
}

std::map<std::string, double> areas(const std::string &text)
{
	std::map<std::string, double> found;
	std::istringstream words(text);
	for (std::string word; words >> word;) {
		auto equals = word.find('='), times = word.find('x');
		if (equals == word.npos || equals + 1 == word.size())
			throw std::invalid_argument(word);
		double a = std::stod(word.substr(equals + 1));
		auto shape = times != word.npos ? make<Oblong>(a, std::stod(word.substr(times + 1))) : make<Square>(a);
		found[word.substr(0, equals)] = shape->area();
	}
	return found;
}
