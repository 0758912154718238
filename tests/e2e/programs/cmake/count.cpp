#include "squares.h"
#include <vector>
int count(int below)
{
	std::vector<int> found;
	for (int square : squares)
		if (square < below)
			found.push_back(square);
	return static_cast<int>(found.size());
}
