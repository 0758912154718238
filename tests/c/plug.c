// The library that dlopen loads. It is compiled into the fixture as lib/libplug.so.
// part of the fixture
int plug_answer(void) { return 42; }
