unsigned count(const char *text);
double weigh(unsigned pebbles);
