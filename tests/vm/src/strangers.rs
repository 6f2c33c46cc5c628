// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that exist to find what is wrong with storage, memory and devices, let loose on windows of
//! all kinds.

use crate::driver::{get, pattern, put, users};
use crate::folder::Folder;
use crate::map::Disk;
use crate::pci::Pci;
use crate::report::fact;
use crate::scale::scaled;
use crate::sys::PAGE;
use std::fs;
use std::process::Command;

crate::tests! {
    fsx_finds_no_difference
    fio_engines_verify_each_other
    fio_transfers_from_and_to_a_mapping
    memtester_finds_good_memory
    badblocks_finds_none
    ioping_reads_and_shreds
    stress_ng_opens_in_every_way
    trinity_finds_no_way_to_hurt
    memtool_shows_and_changes_words
    socat_moves_bytes
    gdb_reads_and_writes_a_mapping
    a_file_is_read_directly_into_a_mapping_and_back
    a_mapping_is_sent_without_a_copy
    pages_of_a_mapping_go_into_a_pipe
    one_process_reads_and_writes_another_s_mapping
    the_kernel_s_own_test_of_page_frames
}

/// A folder for what the programs leave.
const FOLDER: &str = "/tmp/chrmem-strangers";

/// The node that they are given.
const NODE: &str = "/dev/chrmem-test";

/// Kinds of windows: what they are called, and their settings but for the size.
const KINDS: [(&str, &str); 5] = [
    ("pages", ""),
    ("contiguous", "memory=contiguous"),
    ("write-combining", "cache=writecombine"),
    ("noncached", "cache=noncached"),
    ("dma", "memory=dma"),
];

/// A live device with one window.
fn device(settings: &str, size: usize) -> Folder {
    Folder::live("test", &[("one", &format!("size={size} {settings}"))])
}

/// What a shell script printed, that must succeed.
pub(crate) fn sh(script: &str) -> String {
    fs::create_dir_all(FOLDER).expect(FOLDER);
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(FOLDER)
        .output()
        .expect("sh runs");
    fs::remove_dir_all(FOLDER).expect(FOLDER);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script}: {}: {printed} {complaint}",
        output.status
    );
    // Some say what they have to say there.
    printed + &complaint
}

/// Runs a Python program that must succeed.
fn python(program: &str) {
    sh(&format!("python3 - <<'END'\n{PRELUDE}\n{program}\nEND"));
}

/// What the Python programs share: the device, mapped, each page unlike the others.
const PRELUDE: &str = r#"
import ctypes, mmap, os, socket, struct
P = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("/dev/chrmem-test", os.O_RDWR)
size = os.lseek(fd, 0, os.SEEK_END)
m = mmap.mmap(fd, size)
pattern = bytes((at % 251) ^ (at // P % 256) for at in range(size))
m[:] = pattern
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
def vector(at, len):
    return Vector(ctypes.addressof(ctypes.c_char.from_buffer(m, at)), len)
def checked(answer, len):
    assert answer == len, (answer, os.strerror(ctypes.get_errno()))
"#;

/// It compares with a model of its own: reads and writes, through mappings as well, and sendfile.
fn fsx_finds_no_difference() {
    let mut compared = 0;
    for (settings, size, seeds) in [
        ("", 256 << 10, 3),
        // Mapped by huge entries.
        ("", 4 << 20, 1),
        ("cache=noncached", 256 << 10, 1),
        ("memory=dma", 256 << 10, 1),
    ] {
        let folder = device(settings, size);
        for seed in 1..=seeds {
            let count = scaled(2000);
            sh(&format!(
                "cat > fsx.toml <<END
blockmode = true
nosizechecks = true
flen = {size}
[weights]
close_open = 0
truncate = 0
posix_fallocate = 0
punch_hole = 0
read = 10
write = 10
mapread = 10
mapwrite = 10
invalidate = 1
fsync = 1
fdatasync = 1
posix_fadvise = 1
sendfile = 5
END
                 fsx -q -N {count} -S {seed} -f fsx.toml -P . {NODE}"
            ));
            compared += count;
        }
        // It was there.
        assert!(get(folder.open(), 0, size) != vec![0; size]);
    }
    fact("operations", "by fsx, against its own model", compared);
}

/// The options of a run of fio.
const FIO: &str = "--name=x --thread --size=1m --bs=4k --verify=crc32c --verify_fatal=1 \
                   --verify_state_save=0 --output-format=terse";

/// Runs fio: how many KiB it says that it read, and that it wrote.
fn fio(options: &str) -> [usize; 2] {
    let text = sh(&format!("fio {FIO} {options}"));
    let line = text.lines().find(|line| line.starts_with("3;fio-"));
    let fields: Vec<_> = line
        .unwrap_or_else(|| panic!("{text}"))
        .split(';')
        .collect();
    // Where `fio --help` for this format counts from 1, the sixth and the 47th.
    [5, 46].map(|at| fields[at].parse().expect("a count"))
}

/// Each engine's writes are verified by the next one: what goes wrong in one way in shows.
fn fio_engines_verify_each_other() {
    let engines = ["psync", "mmap", "io_uring", "libaio", "splice", "posixaio"];
    let folder = device("", 2 << 20);
    let mut verified = 0;
    for (writer, reader) in engines.iter().zip(engines.iter().cycle().skip(1)) {
        folder.device().clear().expect("MEM_CLEAR");
        let job = format!("--filename={NODE} --direct=0 --rw=write");
        verified += written_and_verified(&job, writer, reader);
    }
    for (name, settings) in &KINDS[1..] {
        let folder = Folder::live("more", &[("one", &format!("size=1M {settings}"))]);
        let job = format!("--filename={} --rw=write", folder.node());
        let count = written_and_verified(&job, "mmap", "psync");
        assert_eq!(count, 1024, "{name}");
        verified += count;
    }
    assert_eq!(verified, (engines.len() + KINDS.len() - 1) << 10);
    fact(
        "strangers",
        "fio: MiB written by one way and verified by another",
        verified >> 10,
    );
}

/// Has one engine write, and another one verify; gives how many KiB both did.
fn written_and_verified(job: &str, writer: &str, reader: &str) -> usize {
    let [_, written] = fio(&format!("{job} --ioengine={writer} --do_verify=0"));
    let [read, _] = fio(&format!("{job} --ioengine={reader} --verify_only"));
    written.min(read)
}

/// The device's memory is what the transfers of fio go from and to: O_DIRECT on a disk, and buffers
/// that io_uring has pinned.
fn fio_transfers_from_and_to_a_mapping() {
    let _disk = Disk::new();
    for (engine, more) in [
        ("io_uring", "--fixedbufs=1 --iodepth=4"),
        ("libaio", "--iodepth=4"),
        ("psync", ""),
    ] {
        for settings in ["", "cache=noncached"] {
            let folder = device(settings, 4 << 20);
            let [read, written] = fio(&format!(
                "--filename=/dev/ram0 --direct=1 --rw=randwrite --bs=16k --size=512k \
                 --ioengine={engine} {more} --mem=mmapshared:{NODE}"
            ));
            assert_eq!([read, written], [512; 2], "{engine}");
            assert!(get(folder.open(), 0, 16384) != vec![0; 16384]);
            fact(
                "strangers",
                "fio: KiB to a disk and back, directly out of and into a window",
                read.min(written),
            );
        }
    }
}

fn memtester_finds_good_memory() {
    for (name, settings) in KINDS {
        // Its rounds take long where memory is not cached.
        let size = if settings.contains("cache") {
            128 << 10
        } else {
            1 << 20
        };
        let _folder = device(settings, size);
        let text = sh(&format!("memtester -p 0 -d {NODE} {}K 1", size >> 10));
        assert!(text.contains("Done."), "{name}: {text}");
        // Each test says "ok", and none says "FAILURE".
        let good = text.matches("ok\n").count();
        assert!(good >= 16 && !text.contains("FAILURE"), "{name}: {text}");
        let tested = number_after(&text, "MB (");
        assert_eq!(tested, size, "{name}: {text}");
        fact("strangers", "memtester: KiB of good memory", tested >> 10);
    }
}

fn badblocks_finds_none() {
    for (name, settings) in KINDS {
        let folder = device(settings, 1 << 20);
        let text = sh(&format!(
            "badblocks -v -w -b 4096 {NODE} 255; badblocks -v -w -b 4096 -t random {NODE} 255"
        ));
        let count = |words: &str| text.matches(words).count();
        // Four patterns, then a random one.
        assert_eq!(count("Testing with "), 5, "{name}: {text}");
        assert_eq!(count("Reading and comparing: done"), 5, "{name}: {text}");
        assert_eq!(
            count("Pass completed, 0 bad blocks found."),
            2,
            "{name}: {text}"
        );
        assert!(text.contains("From block 0 to "), "{name}: {text}");
        let blocks = number_after(&text, "From block 0 to ") + 1;
        assert_eq!(blocks, 256, "{name}: {text}");
        assert!(get(folder.open(), 0, 4096) != [0; 4096]);
        fact(
            "strangers",
            "badblocks: good blocks, five patterns each",
            blocks,
        );
    }
}

/// The number behind the first of these words in a text.
fn number_after(text: &str, words: &str) -> usize {
    let (_, rest) = text
        .split_once(words)
        .unwrap_or_else(|| panic!("no {words:?}: {text}"));
    let end = rest
        .find(|it: char| !it.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().expect("a number")
}

fn ioping_reads_and_shreds() {
    let folder = device("", 1 << 20);
    put(folder.open(), 0, &pattern(1 << 20));
    sh(&format!("ioping -q -c 100 -i 0 -S 1m {NODE}"));
    assert!(get(folder.open(), 0, 1 << 20) == pattern(1 << 20));
    sh(&format!("ioping -q -c 100 -i 0 -S 1m -WWW {NODE}"));
    assert!(get(folder.open(), 0, 1 << 20) != pattern(1 << 20));
}

/// Every flag of open, fcntl, poll and seek, an ioctl of terminals, and mappings.
fn stress_ng_opens_in_every_way() {
    for settings in ["", "memory=dma"] {
        let folder = device(settings, 1 << 20);
        let text = sh(&format!(
            "stress-ng --dev 2 --dev-file {NODE} --dev-ops 40 -t 8 --verify"
        ));
        assert!(text.contains("passed: 2: dev (2)"), "{text}");
        assert!(
            text.contains("1 of 1 devices opened and exercised"),
            "{text}"
        );
        assert_eq!(folder.shown().mappings.0, 0);
    }
}

/// Random system calls, by somebody who may open the device and nothing else.
fn trinity_finds_no_way_to_hurt() {
    for settings in ["", "memory=dma"] {
        let folder = device(settings, 1 << 20);
        let calls = scaled(1500);
        let text = sh(&format!(
            "chmod 777 . && chmod 666 {NODE} && setpriv --reuid=65534 --regid=65534 --clear-groups \
             timeout 100 trinity --disable-fds=sockets -V {NODE} -C 2 -N {calls} -q -l off -c mmap -c mremap -c munmap \
             -c mprotect -c madvise -c read -c write -c ioctl -c pread64 -c pwrite64 -c lseek -c splice"
        ));
        let ran = text.lines().find_map(|line| line.split_once("Ran "));
        let (count, _) = ran.and_then(|(_, rest)| rest.split_once(' ')).expect(&text);
        let count: usize = count.parse().expect("a count");
        assert!(count >= calls, "{text}");
        assert_eq!(folder.shown().mappings.0, 0);
        let device = folder.device();
        device.reset().expect("RESET");
        assert_eq!(get(&device, 0, 13), b"hello, user!\0");
        fact("inputs", "system calls of trinity", count);
    }
    assert_eq!(users(), Some(0));
}

fn memtool_shows_and_changes_words() {
    let folder = device("", 64 << 10);
    put(
        folder.open(),
        0x1000,
        &0x1122_3344_5566_7788_u64.to_le_bytes(),
    );
    let text = sh(&format!("memtool md -s {NODE} -l 0x1000+8"));
    assert!(text.starts_with("00001000: 55667788 11223344 "), "{text}");
    sh(&format!("memtool mw -d {NODE} -l 0x1004 0xcafef00d"));
    assert_eq!(get(folder.open(), 0x1004, 4), 0xcafe_f00d_u32.to_le_bytes());
    sh(&format!("! memtool md -s {NODE} -l 0x10000+8"));
}

/// It polls before it reads, and so waits for news.
fn socat_moves_bytes() {
    let folder = device("", 64 << 10);
    put(folder.open(), 0, &pattern(64 << 10));
    sh(&format!(
        "socat -u OPEN:{NODE},seek=5000,readbytes=100 CREATE:part & p=$!
         while ! test -e part; do sleep 0.05; done
         sleep 0.5; ! test -s part; kill -0 $p
         chrmem notify {NODE}; wait $p
         socat -u OPEN:part OPEN:{NODE},seek=60000"
    ));
    assert_eq!(
        get(folder.open(), 60000, 100),
        pattern(64 << 10)[5000..5100]
    );
}

fn gdb_reads_and_writes_a_mapping() {
    for settings in ["", "cache=noncached", "memory=dma"] {
        let folder = device(settings, 64 << 10);
        put(folder.open(), 0x2000, b"seen by the debugger\0");
        let text = sh(&format!(
            r#"cat > sleeper.py <<END
import mmap, os, time
m = mmap.mmap(os.open("{NODE}", os.O_RDWR), 65536)
print(m[0x2000], flush=True)
time.sleep(280)
END
            python3 sleeper.py > ready & p=$!
            while ! test -s ready; do sleep 0.05; done
            start=$(grep {NODE} /proc/$p/maps | cut -d- -f1)
            gdb -nx -batch -iex "set auto-solib-add off" -p $p -ex "x/s 0x$start+0x2000" -ex "set {{char[8]}}(0x$start+0x3000) = \"by gdb!\"" 2>&1
            kill $p"#
        ));
        assert!(
            text.contains(r#""seen by the debugger""#),
            "{settings}: {text}"
        );
        assert_eq!(get(folder.open(), 0x3000, 8), b"by gdb!\0", "{text}");
    }
}

/// From an ext4 file to the device and back, by the disk itself.
fn a_file_is_read_directly_into_a_mapping_and_back() {
    let _disk = Disk::new();
    for settings in [
        "size=256K",
        "size=4M",
        "size=256K memory=contiguous cache=writecombine",
    ] {
        let _folder = Folder::live("test", &[("one", settings)]);
        sh(r#"
mkfs.ext4 -q -b 4096 -O ^has_journal /dev/ram0 && mkdir disk && mount /dev/ram0 disk
trap 'umount disk; rmdir disk' EXIT
python3 - <<'END'
import mmap, os
fd = os.open("/dev/chrmem-test", os.O_RDWR)
size = 256 << 10
m = mmap.mmap(fd, size)
pattern = os.urandom(size)
with open("disk/file", "wb") as file:
    file.write(pattern)
    os.fsync(file.fileno())
direct = os.open("disk/file", os.O_RDWR | os.O_DIRECT)
assert os.preadv(direct, [m], 0) == size
assert os.pread(fd, size, 0) == pattern
os.pwrite(fd, b"changed", 8192)
assert os.pwritev(direct, [m], 0) == size
os.close(direct)
changed = pattern[:8192] + b"changed" + pattern[8199:]
fresh = os.open("disk/file", os.O_RDONLY | os.O_DIRECT)
other = mmap.mmap(-1, size)
assert os.preadv(fresh, [other], 0) == size
assert other[:] == changed
END
"#);
    }
}

/// The network stack keeps pages of the device until they are sent.
fn a_mapping_is_sent_without_a_copy() {
    for settings in ["", "cache=writecombine", "memory=contiguous"] {
        let folder = device(settings, 256 << 10);
        python(
            r#"
ZEROCOPY, MSG_ZEROCOPY, ERRQUEUE = 60, 0x4000000, 0x2000
server = socket.create_server(("127.0.0.1", 0))
out = socket.create_connection(server.getsockname())
into, _ = server.accept()
out.setsockopt(socket.SOL_SOCKET, ZEROCOPY, 1)
view = memoryview(m)
sent = 0
while sent < 65536:
    sent += out.send(view[P + sent:P + 65536], MSG_ZEROCOPY)
got = b""
while len(got) < 65536:
    got += into.recv(65536)
assert got == pattern[P:P + 65536]
# Told that the pages are no longer needed.
_, told, _, _ = out.recvmsg(0, 1000, ERRQUEUE)
assert struct.unpack("IBBBBII", told[0][2][:16])[1] == 5, told
"#,
        );
        assert_eq!(folder.shown().mappings.0, 0);
    }
}

fn pages_of_a_mapping_go_into_a_pipe() {
    for settings in ["", "cache=noncached"] {
        let folder = device(settings, 16 * PAGE);
        python(
            r#"
r, w = os.pipe()
v = vector(2 * P, 4 * P)
checked(libc.vmsplice(w, ctypes.byref(v), ctypes.c_ulong(1), 0), 4 * P)
# It is the pages that are in the pipe, not what they held then.
os.pwrite(fd, b"afterwards", 2 * P)
got = os.read(r, 4 * P)
assert got == b"afterwards" + pattern[2 * P + 10:6 * P], got[:20]
# And from a pipe into the device.
os.write(w, b"through a pipe")
assert os.splice(r, fd, 14, offset_dst=100) == 14
assert m[100:114] == b"through a pipe"
del v
"#,
        );
        assert_eq!(folder.shown().mappings.0, 0);
    }
}

fn one_process_reads_and_writes_another_s_mapping() {
    for (settings, works) in [
        ("", "True"),
        ("cache=noncached", "True"),
        ("memory=dma", "False"),
    ] {
        let folder = device(settings, 16 * PAGE);
        python(&format!(
            r#"
works = {works}
r, w = os.pipe()
child = os.fork()
if child == 0:
    os.read(r, 1)
    os._exit(0)
theirs, buffer = vector(P, 2 * P), ctypes.create_string_buffer(2 * P)
ours = Vector(ctypes.addressof(buffer), 2 * P)
read = libc.process_vm_readv(child, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
if works:
    checked(read, 2 * P)
    assert buffer.raw == pattern[P:3 * P]
    buffer[0:5] = b"write"
    checked(libc.process_vm_writev(child, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0), 2 * P)
    assert os.pread(fd, 5, P) == b"write"
else:
    assert read == -1 and ctypes.get_errno() == 14
os.write(w, b"x")
assert os.waitpid(child, 0)[1] == 0
"#
        ));
        assert_eq!(folder.shown().mappings.0, 0);
    }
}

/// `tools/testing/selftests/mm/pfnmap.c`, from the source of this very kernel.
fn the_kernel_s_own_test_of_page_frames() {
    let tests = "/usr/src/linux/tools/testing/selftests";
    let compile = format!(
        "gcc -w -I/usr/src/linux/include/uapi -I{tests}/.. -I{tests}/../../include -I{tests} \
         -I{tests}/mm -o /tmp/pfnmap {tests}/mm/pfnmap.c {tests}/mm/vm_util.c"
    );
    sh(&compile);
    let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
    let physical = format!("memory=physical address={bar:#x}");
    for settings in ["memory=dma", &physical] {
        let folder = device(settings, 16 * PAGE);
        let text = sh(&format!("/tmp/pfnmap -- {NODE}"));
        let (passed, all) = (
            number_after(&text, "# PASSED: "),
            number_after(&text, " / "),
        );
        assert!(
            passed >= 6 && passed == all && !text.contains("SKIP"),
            "{text}"
        );
        assert_eq!(folder.shown().mappings.0, 0);
        fact(
            "strangers",
            "the kernel's own tests of page-frame mappings passed",
            passed,
        );
    }
    // What is made of ordinary pages is not for it.
    let _folder = device("", 16 * PAGE);
    let text = sh(&format!("/tmp/pfnmap -- {NODE} || test $? = 4"));
    assert!(text.contains("SKIP") && text.contains("pfnmap"), "{text}");
    fs::remove_file("/tmp/pfnmap").expect("/tmp");
}
