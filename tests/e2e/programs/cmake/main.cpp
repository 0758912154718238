#include "config.h"
#include <iostream>
int count(int below);
int main()
{
	std::cout << VERSION << ' ' << SIZE_OF_LONG << ' ' << count(100) << '\n';
}
