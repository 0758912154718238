#include "shapes.hpp"
#include <iostream>

int main()
{
	for (const auto &[name, area] : areas("a=3 b=4x5 c=10"))
		std::cout << name << ' ' << area << '\n';
	try {
		areas("d=");
	} catch (const std::invalid_argument &word) {
		std::cout << "not a shape: " << word.what() << std::endl;
	}
}
