#!/usr/bin/env python3
"""A folder with everything that a Linux file system holds, and what can be said about it.

    nasty_folder.py make DIR [pod]           makes it (as root); pod: without what no pod can see
    nasty_folder.py list DIR [plain [RAW]]   a line for each entry with all that must be equal;
                                             plain: without sockets, and with pipes told apart
    nasty_folder.py compare RESTIC THEIRS OURS RAW
                                             two trees of one repository, byte by byte, but for
        device_id      ours is there only where a file has several names: it changes with each mount
        user, group    ours has none: names of the mover's container mean nothing
        subtree        follows from the others; compared by going down
        sockets        restic's backup leaves them out
        links of fifo  ours has them if there are several
        linktarget_raw if RAW is "no": restic before 0.16
"""
import hashlib
import json
import os
import re
import socket
import stat
import struct
import subprocess
import sys

NAMES = [b"plain", b'q"uote', b"back\\slash", b"less<than>&amp", b"tab\there", b"new\nline",
         b"bell\a\b\v\f\r\x1b\x7f", b"latin\xe4", b"broken\xf0\x9f\x98", b"surrogate\xed\xa0\x80",
         "zero\u200bwidth nbsp\xa0soft\xad".encode(), "emoji\U0001f600 \u2028 \u2029".encode(),
         "bom\ufeff replacement\ufffd private\ue000".encode(), "ideographic\u3000 tag\U000e0001".encode(),
         b" leading and trailing ", b"%percent,comma;semi", "gr\u00fc\u00dfe".encode(), b"x" * 255,
         b"-rf", b"*", b"~", b"\xff\xfe", b"...", b"..a", b"a.", b"a", b"a b", b"a-b", b"A", b"removed"]
NS = 10**9


def acl(user):
    entries = [(1, 6, -1), (2, 4, user), (4, 4, -1), (16, 6, -1), (32, 0, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *e) for e in entries)


def put(path, data=b"x", mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def make(top, pod=None):
    os.makedirs(top)
    os.chdir(top)
    for i, name in enumerate(NAMES):
        put(name, b"%d" % i)
    put(b"empty", b"", 0)
    put(b"zeros", bytes(3000000))
    put(b"random", os.urandom(5000000))
    for d in (b"emptydir", b"sticky", b"deep", b"deep/a", b"deep/a/b", b"links", b"acl", b"\xe4dir"):
        os.mkdir(d)
    put(b"deep/a/b/file")
    for target in (b"plain", b"/etc/passwd", b'nowhere <&> "x" \xc3\xa9', b"lat\xe4/\xff", b"../" * 300 + b"far"):
        os.symlink(target, b"link to " + hashlib.sha256(target).hexdigest()[:6].encode())
    os.link(b"random", b"links/random")
    os.link(b"plain", b"zlast")
    for name in ("fifo", "links/alone"):
        os.mkfifo(name, 0o622)
    os.mknod("char", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod("whiteout", stat.S_IFCHR | 0o600, 0)
    os.mknod("block", stat.S_IFBLK | 0o640, os.makedev(259, 70000))
    s = socket.socket(socket.AF_UNIX)
    s.bind("sock")
    s.close()
    for name in ("fifo", "char", "block", "sock"):
        os.link(name, "links/" + name)
    with open("sparse", "wb") as f:
        for at in (700001, 9000000, 9000100):
            f.seek(at)
            f.write(os.urandom(70000))
        f.truncate(20000001)
    with open("hole", "wb") as f:
        f.truncate(3 << 20)
    for name, mode in (("sticky", 0o1777), ("deep", 0o2750), ("acl", 0o3770)):
        os.chmod(name, mode)
    for name, owner in ((b"random", (12345, 54321)), (b"fifo", (7, 8)), (b"deep", (4294967294, 5))):
        os.chown(name, *owner)
    os.chmod("random", 0o6755)
    os.setxattr("random", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    for name, value in (("user.zz", b"value <x>"), ("user.empty", b""), ("user.bytes", b"\xff\0\xfe"),
                        ("user.caf\u00e9 \"q\" <&>", b"1"), ("user.long", b"v" * 3000)):
        os.setxattr("zeros", name, value)
    if not pod:
        os.setxattr("zeros", "trusted.note", b"t")
    for name in ("emptydir", "sparse", "\udce4dir"):
        os.setxattr(name, "user.z", b"z")
        os.setxattr(name, "user.a", b"a")
    os.setxattr("acl", "system.posix_acl_access", acl(1001))
    os.setxattr("acl", "system.posix_acl_default", acl(1002))
    put("acl/inherits")
    for name in ("plain", "fifo", "char"):
        os.setxattr(name, "system.posix_acl_access", acl(1003))
    times = {"emptydir": -1, "deep/a": -315619200 * NS - 500000000, "zeros": 981173106123456789,
             "fifo": -86400 * 3650 * NS, "char": 2147483648 * NS + 100, "sock": 5 * NS, "sparse": 1, "hole": 10 * NS,
             "acl": 4102444800 * NS + 120000000}
    for name, ns in times.items():
        os.utime(name, ns=(ns, ns))
    for name in os.listdir(b"."):
        if name.startswith(b"link to"):
            os.utime(name, ns=(1262304000 * NS + 7, 1262304000 * NS + 7), follow_symlinks=False)
    os.utime(".", ns=(1700000000 * NS, 1700000000 * NS))


def lines(top, plain=None, raw="yes"):
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape") # whatever the locale
    first = {}
    for path, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(dirs + files):
            f = os.path.join(path, name)
            st = os.lstat(f)
            pipe = stat.S_ISFIFO(st.st_mode)
            if plain and stat.S_ISSOCK(st.st_mode):
                continue
            one = os.path.relpath(f, top)
            if not stat.S_ISDIR(st.st_mode) and not (plain and pipe):
                one = first.setdefault(st.st_ino, one)
            what = b""
            if stat.S_ISLNK(st.st_mode):
                what = os.fsencode(os.readlink(f))
                what = what.decode(errors="replace") if raw == "no" else what
            elif stat.S_ISREG(st.st_mode):
                with open(f, "rb") as o:
                    what = hashlib.sha256(o.read()).hexdigest()
            attributes = sorted((x, os.getxattr(f, x, follow_symlinks=False))
                                for x in os.listxattr(f, follow_symlinks=False))
            print(os.path.relpath(f, top), oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns,
                  st.st_rdev, "is", one, what, attributes)


def blob(restic, tree):
    return subprocess.run([restic, "-q", "cat", "blob", tree], check=True, stdout=subprocess.PIPE).stdout


def nodes(text):
    """The texts of the nodes, as they stand, by name."""
    head, tail = b'{"nodes":[', b"]}\n"
    assert text.startswith(head) and text.endswith(tail), text
    inner, decoder, at, out = text[len(head):-len(tail)].decode(), json.JSONDecoder(), 0, []
    while at < len(inner):
        node, end = decoder.raw_decode(inner, at)
        out.append((node, inner[at:end]))
        assert inner[end:end + 1] in ("", ",")
        at = end + 1
    return out


def reduced(node, text, raw):
    text = re.sub(r',"(device_id)":\d+', "", text)
    text = re.sub(r',"(user|group)":"[^"]*"(?=,"(group|inode|device_id|size|links|content|extended))', "", text)
    text = re.sub(r'"subtree":"[0-9a-f]{64}"', '"subtree":""', text)
    if node["type"] == "fifo":
        text = re.sub(r',"links":\d+', "", text)
    if raw == "no":
        text = re.sub(r',"linktarget_raw":"[^"]*"', "", text)
    return text


def compare(restic, theirs, ours, raw, path="/"):
    a = nodes(blob(restic, theirs))
    b = [n for n in nodes(blob(restic, ours)) if n[0]["type"] != "socket"]
    for (x, x_text), (y, y_text) in zip(a, b):
        if reduced(x, x_text, raw) != reduced(y, y_text, raw):
            sys.exit("below %s:\ntheirs %s\nours   %s" % (path, x_text, y_text))
        if (y.get("links", 1) > 1) != ("device_id" in y) and y["type"] != "dir":
            sys.exit("below %s: device_id and links: %s" % (path, y_text))
        if x["type"] == "dir":
            compare(restic, x["subtree"], y["subtree"], raw, path + x["name"] + "/")
    if len(a) != len(b):
        sys.exit("%s: theirs has %d entries, ours %d" % (path, len(a), len(b)))


if __name__ == "__main__":
    verb, *args = sys.argv[1:]
    if verb == "make":
        os.umask(0o022)
        make(*args)
    elif verb == "list":
        lines(*args)
    else:
        compare(*args)
