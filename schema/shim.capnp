# Frames between termite-run or the termite command and the client daemon, on its unix
# socket: plain messages in the standard stream framing, not packed, no RPC. The caller
# sends one `hello` and speaks on as that says.
@0x9d2c58e1f0a7b634;

using Path = Data;

struct ToDaemon {
  union {
    job @0 :Job;             # first frame of termite-run
    control @1 :Control;     # first and only frame of the termite command
    signal @2 :UInt8;        # to the job
    input @3 :Data;          # answer to wantInput, again and again; empty: end of file
    resize :group { rows @4 :UInt16; cols @5 :UInt16; }
  }
  protocol @6 :UInt32;       # looked at in the first frame
}

struct Job {
  build @0 :UInt64;
  program @1 :Path;
  argv @2 :List(Data);
  env @3 :List(Data);
  cwd @4 :Path;
  umask @5 :UInt32;
  limits @6 :List(Limit);
  groups @7 :List(UInt32);   # user and group are the socket's peer
  stdin @8 :Stdin;
  stdout @9 :Bool;
  stderr @10 :Bool;
  merged @11 :Bool;
  terminal0 @12 :Bool;
  terminal1 @13 :Bool;
  terminal2 @14 :Bool;
  rows @15 :UInt16;
  cols @16 :UInt16;
  must @17 :Bool;            # asked for as a job by the user (termite run, wrappers): rules do not apply
  requestHigh @18 :UInt64;   # 128 random bits: names the request in the daemon's journal
  requestLow @19 :UInt64;
  inherited @20 :List(UInt32);  # numbers of further open descriptors: 3 to 1023
  driven @21 :Bool;          # below a driver that removes the targets of interrupted recipes after their end
  ignored @22 :UInt64;       # signals that are ignored: the lowest bit is signal 1
  nice @23 :UInt8;           # by how much it gives way to others, at most 19 (nice(2))
}

struct Limit { resource @0 :UInt32; soft @1 :UInt64; hard @2 :UInt64; }
enum Stdin { closed @0; null @1; pipe @2; shared @3; file @4; }

struct Control {
  union {
    status @0 :Void;
    stop @1 :Void;
    last @2 :Path;           # directory
    begin :group {           # termite-env starts a build
      build @3 :UInt64;
      cwd @4 :Path;
      command @5 :List(Data);
      workers @6 :List(Text);  # empty: as configured
    }
    finish :group {          # termite-env's command ended
      build @7 :UInt64;
      exit @8 :UInt8;
    }
    forget @9 :List(Data);   # words of a command line whose sign is to be forgotten; none: all
  }
}

struct ToCaller {
  union {
    # termite-run executes the command itself, in its own place.
    local :group {
      reason @0 :Text;       # empty: no fault, a rule
      asDriver @1 :Bool;     # with the shim in it
      tell @2 :Bool;         # a fault: print the reason once on stderr if nobody else will
      tools @3 :Data;        # value for TERMITE__TOOLS
    }
    output :group { fd @4 :UInt8; bytes @5 :Data; }
    wantInput @6 :Void;
    exited :group { status @7 :UInt8; readInput @8 :UInt64; }
    signaled :group { signal @9 :UInt8; readInput @10 :UInt64; }
    report @11 :Text;        # answer to control: JSON
    error @12 :Text;         # the request was refused: why, and what to do
  }
}
