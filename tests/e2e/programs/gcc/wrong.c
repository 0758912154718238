#include "nowhere.h"
int main(void) { return undeclared; }
