"""Modules that touch files in ways of their own."""
import glob
import json
import multiprocessing
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zipfile

import stones


def square(number):
    return number * number


def main():
    made = pathlib.Path("made")
    (made / "deep" / "er").mkdir(parents=True)
    (made / "one.json").write_text(json.dumps(stones.KINDS, indent=1))
    with multiprocessing.Pool(3) as pool:
        print(pool.map(square, range(10)))
    with sqlite3.connect(made / "stones.db") as db:
        db.execute("create table stones (name text, weight integer)")
        db.executemany("insert into stones values (?, ?)", stones.KINDS.items())
    print(db.execute("select sum(weight) from stones").fetchone())
    db.close()
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "socket")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        talk = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello\n"))
        talk.start()
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        print(client.recv(100))
        talk.join()
    with zipfile.ZipFile(made / "stones.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write("stones.py")
    shutil.copytree(made, made.parent / "copied")
    os.replace("copied/one.json", "copied/two.json")
    print(sorted(glob.glob("**/*", recursive=True)))
    print(subprocess.run([sys.executable, "-c", "import os; print(os.getcwd() == os.path.realpath('.'))"],
                         capture_output=True, text=True, check=True).stdout)
    print(sorted(entry.name for entry in os.scandir(".") if entry.is_dir()))


if __name__ == "__main__":
    main()
