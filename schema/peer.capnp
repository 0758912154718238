# What client and worker say to each other, as capnp-rpc.
#
# Either side may dial. The bootstrap capability of both is Peer; after its hello each
# holds what the other offers. Paths and names are bytes. Times are by the sender's clock.
@0xb3f1c6a2d94e7058;

using Path = Data;

interface Peer {
  hello @0 (mine :Hello) -> (yours :Hello);
  # For a worker whose client told it of this one: what the session with this ticket holds.
  blobs @1 (protocol :UInt32, ticket :Data) -> (source :BlobSource);
}

struct Hello {
  protocol @0 :UInt32;      # another number ends the conversation with an error on both sides
  release @1 :Text;
  token @2 :Data;           # of the token file, where the link is loopback TCP; else empty
  hostname @3 :Data;
  slots @4 :UInt16;         # 0: offers no slots
  worker @5 :Worker;        # null: is no worker
  sameMachine @6 :Data;     # boot id and user namespace: equal means that files may be as trusted as there
  pidLimit @7 :UInt32;      # its jobs' process numbers may be below this; 0: it cannot choose them
}

interface Worker {
  # The ticket lets other workers of this client read what the session holds, by hash.
  open @0 (client :ClientInfo, files :FileServer) -> (session :Session, ticket :Data);
}

struct ClientInfo {
  id @0 :Data;              # of the client's tree: names its mirror; stable over runs of the daemon
  uid @1 :UInt32;
  gid @2 :UInt32;
  shim @3 :Data;            # the client's libtermite.so; empty: its jobs run by the guard alone
}

interface BlobSource {
  # zeros: where all that is read is zeros, how many they are, in the place of bytes.
  read @0 (hash :Data, offset :UInt64, length :UInt32) -> (bytes :Data, zeros :UInt32);
}

interface FileServer extends (BlobSource) {
  readDir @0 (snapshot :Snapshot, path :Path) -> (result :ListResult);
  open @1 (snapshot :Snapshot, path :Path) -> (result :OpenResult);
  # The same for several paths, answered in their order. A shorter answer is of the first
  # ones: the others are to be asked for again. It is never empty unless the question is.
  readDirs @2 (snapshot :Snapshot, paths :List(Path)) -> (results :List(ListResult));
  openAll @3 (snapshot :Snapshot, paths :List(Path)) -> (results :List(OpenResult));
  # Whether the client's own machine has what a job looks for and its slot has not.
  machineHas @4 (resource :Resource) -> (has :Bool);
  # What getpwnam(3) and its kin say on the client, where it asks more than files.
  findUser @5 (query :UserQuery) -> (answer :UserAnswer);
}

struct Resource {
  union {
    process @0 :UInt32;
    target @1 :Int32;         # of kill(2): a process, or below -1 a group
    service :group {
      ip @2 :Data;            # 4 or 16 bytes
      port @3 :UInt16;
    }
    abstractSocket @4 :Data;  # its name, without the leading null byte
    socket @5 :Path;
    name @6 :Path;            # anything that is there, a symlink itself
    object :group {           # of System V IPC
      kind @7 :ObjectKind;
      union {
        key @8 :Int32;
        id @9 :Int32;
        any @10 :Void;        # whichever there are
      }
    }
    nameServices @11 :Void;   # for users and groups, other than files
    writable @12 :Path;       # for the client's user
  }
}

struct UserQuery {
  union {
    userNamed @0 :Text;
    userNumbered @1 :UInt32;
    groupNamed @2 :Text;
    groupNumbered @3 :UInt32;
    groupsOf @4 :Text;        # of the user of this name
  }
}

struct UserAnswer {
  union {
    inFiles @0 :Void;         # it asks files alone, which the job has, too
    nobody @1 :Void;
    user :group {
      name @2 :Text;
      uid @3 :UInt32;
      gid @4 :UInt32;
      comment @5 :Text;
      home @6 :Text;
      shell @7 :Text;
    }
    group :group {
      name @8 :Text;
      gid @9 :UInt32;
      members @10 :List(Text);
    }
    groups @11 :List(UInt32);
  }
}

enum ObjectKind {
  memory @0;
  semaphores @1;
  queue @2;
}

struct ListResult {
  union {
    errno @0 :UInt32;
    listing @1 :Listing;
  }
}

struct OpenResult {
  union {
    errno @0 :UInt32;
    denied @1 :Void;
    file :group {
      attr @2 :Attr;        # a file with its hash
      head @3 :Data;        # its first bytes; the rest is read by hash
      holders @4 :List(Holder);   # others who have it or are getting it, the best first
    }
  }
}

struct Holder {
  address @0 :Text;         # unix:PATH or HOST:PORT, loopback only
  ticket @1 :Data;          # of the client's session there
}

interface Session {
  run @0 (job :Job, snapshot :Snapshot, updates :List(Update), sink :JobSink,
          expected :Expected) -> (result :JobResult);
  # Outputs are in the client's tree: the worker may merge them into its mirror. The
  # updates tell how each committed path and the directory that it is in stand there.
  # Without it they are dropped.
  committed @1 (job :JobId, snapshot :Snapshot, updates :List(Update)) -> ();
  discard @2 (job :JobId) -> ();
  signal @3 (job :JobId, signal :UInt8) -> ();
  input @4 (job :JobId, bytes :Data) -> ();   # empty: end of file
  resize @5 (job :JobId, rows :UInt16, cols :UInt16) -> ();
  cancel @6 (job :JobId) -> ();
  blobs @7 () -> (source :BlobSource);        # outputs that are not yet committed or discarded
  # Which jobs of a build, by number, do next to nothing for so many milliseconds from now on.
  # Answered when the time is over.
  idle @8 (build :UInt64, time :UInt32) -> (jobs :List(UInt32));
  # Has a job given up because others wait for it and do not see what it made.
  sendHome @9 (job :JobId) -> ();
}

interface JobSink {
  output @0 (fd :UInt8, bytes :Data) -> ();
  wantInput @1 () -> ();
}

struct Snapshot { epoch @0 :UInt64; count @1 :UInt64; }
struct JobId { build @0 :UInt64; number @1 :UInt32; }
struct Time { sec @0 :Int64; nsec @1 :UInt32; }

struct Attr {
  mode @0 :UInt32;
  uid @1 :UInt32;
  gid @2 :UInt32;
  mtimeSec @3 :Int64;
  mtimeNsec @4 :UInt32;
  union {
    dir @5 :Void;
    file :group {
      size @6 :UInt64;
      hash @7 :Data;        # 32 bytes, or empty: not known
    }
    symlink @8 :Path;
    special @9 :Special;
  }
}

enum Special {
  fifo @0;
  socket @1;
  device @2;
}

struct Entry { name @0 :Data; attr @1 :Attr; }
struct Listing { attr @0 :Attr; entries @1 :List(Entry); }

struct Update {
  path @0 :Path;
  union {
    gone @1 :Void;
    attr @2 :Attr;
  }
  namesTold @3 :Bool;       # a directory of which only names changed, each of which is told
}

# What a job will use that the worker was not told of before, as far as the client can
# tell: from what earlier jobs used. Parents come before what is in them.
struct Expected {
  dirs @0 :List(Path);      # looked into
  files @1 :List(Path);     # read
}

struct Job {
  id @0 :JobId;
  program @1 :Path;
  argv @2 :List(Data);
  env @3 :List(Data);
  cwd @4 :Path;
  umask @5 :UInt32;
  limits @6 :List(Limit);
  uid @7 :UInt32;
  gid @8 :UInt32;
  groups @9 :List(UInt32);
  hostname @10 :Data;
  stdio @11 :Stdio;
  jobserver @12 :Jobserver;  # null: none
  drivers @13 :List(Data);
  pids @14 :PidRange;        # null: any
  inherited @15 :List(UInt32);  # numbers of further descriptors that its caller had open: 3 to 1023
  ignored @16 :UInt64;       # signals that its caller ignored: the lowest bit is signal 1
  nice @17 :UInt8;           # by how much its caller gave way to others, at most 19 (nice(2))
}

struct Limit { resource @0 :UInt32; soft @1 :UInt64; hard @2 :UInt64; }
struct PidRange { first @0 :UInt32; count @1 :UInt32; }   # process numbers of the job's own
struct Jobserver { read @0 :UInt32; write @1 :UInt32; }

struct Stdio {
  stdin @0 :Stdin;
  stdout @1 :Bool;
  stderr @2 :Bool;
  merged @3 :Bool;
  terminal0 @4 :Bool;
  terminal1 @5 :Bool;
  terminal2 @6 :Bool;
  rows @7 :UInt16;           # 0: no terminal
  cols @8 :UInt16;
}

enum Stdin { closed @0; null @1; pipe @2; shared @3; file @4; }

struct JobResult {
  end :union {
    exited @0 :UInt8;
    signaled @1 :UInt8;
    abandoned @2 :Abandon;
  }
  changes @3 :List(Change);
  trace @4 :List(TraceItem);
  output @5 :List(Output);
  readInput @6 :UInt64;
  wallUs @7 :UInt64;
  cpuUs @8 :UInt64;
  guardFaults @9 :UInt64;
  fetches @10 :UInt64;
  workerNow @11 :Time;
  brought @12 :UInt64;       # directories and files, before it began
  bringUs @13 :UInt64;
  startUs @14 :UInt64;
  runUs @15 :UInt64;
  harvestUs @16 :UInt64;
  fromPeers @17 :UInt64;     # bytes of content that other workers gave since the last result of the session
  premises @18 :Premises;
}

struct Output { fd @0 :UInt8; bytes @1 :Data; }
struct TraceItem {
  path @0 :Path;
  union {
    read @1 :Data;           # hash, or empty of a file of the job's own
    stat @2 :Void;
    missing @3 :Void;
    listed @4 :Void;
    write @5 :Void;
  }
}

struct Abandon {
  union {
    driver @0 :Path;
    denied @1 :Path;
    files @2 :Text;
    full @3 :Text;
    slot @4 :Text;
    unsupported @5 :Text;
    cancelled @6 :Void;
    conflict :group {         # to run again: what it was told does not hold any more
      path @7 :Path;
      seen @8 :Text;
      found @9 :Text;
      awaited @13 :Bool;      # it only waited for that
    }
    start @10 :Text;          # the system refuses to start it
    machine @11 :Text;        # what it needs, only the client's own machine has
    needs @12 :Resource;      # the same, where it can be asked for again
  }
}

# Paths of what was there before (alter, name.from) are those of the client's tree before
# anything of the list is done.
struct Change {
  path @0 :Path;
  union {
    remove :group { dir @1 :Bool; }
    makeDir :group { attr @2 :Attr; explicitMtime @3 :Bool; plain @4 :Bool; }
    symlink @5 :Attr;
    file :group {
      attr @6 :Attr;
      explicitMtime @7 :Bool;
      content @8 :Content;
      ifPresent @9 :IfPresent;  # what becomes of a file that is there by now
    }
    link @10 :Path;          # of an earlier file of the list
    name :group {            # leads to a file of the client's
      from @11 :Path;
      hash @12 :Data;        # empty: not known
    }
    alter @13 :Alter;
    setXattrs @14 :List(Xattr);  # of what is at the path in the end
  }
}

enum IfPresent { replace @0; append @1; overwrite @2; }
struct Xattr { name @0 :Data; value @1 :Data; }

struct Content {
  union {
    onWorker @0 :Void;
    inline @1 :Data;
  }
}

# Only what is given is touched.
struct Alter {
  hasMode @0 :Bool;
  mode @1 :UInt32;
  hasOwner @2 :Bool;
  uid @3 :UInt32;
  gid @4 :UInt32;
  mtime @5 :Time;            # null: none
  explicitMtime @6 :Bool;
  content @7 :Edit;          # null: none
}

struct Edit {
  base @0 :Base;
  size @1 :UInt64;
  hash @2 :Data;
  content @3 :Content;
  appended @4 :Bool;
}

# What a job was told, and what has to hold when it is committed.
struct Check {
  path @0 :Path;
  union {
    nothing @1 :Void;        # made by a call that fails where something is
    leaf @2 :Void;           # removed or renamed
    content @3 :Base;        # read, and changed
    absent @4 :Void;         # appended to from nothing, and read
    onlyName @5 :Void;       # changed, and its last name removed
    symlink @6 :Path;        # with this target; a call that changed something went through it
    mode @7 :UInt32;         # changed, moved or replaced
    owner :group {           # changed, moved or replaced
      uid @8 :UInt32;
      gid @9 :UInt32;
    }
    otherFile @10 :Path;     # not one file with this one, which was renamed to it
    file @11 :Void;          # it got another name
  }
}

struct Premises {
  checks @0 :List(Check);
  locked @1 :Bool;           # what the trace says must be as it was when the job began
  passingNames @2 :List(Path);  # made exclusively and removed again
  unseen @3 :Bool;           # its calls were not seen: it may have taken a lock
  locks @4 :List(Path);      # files that it took a lock on
}

struct Base { size @0 :UInt64; hash @1 :Data; }
