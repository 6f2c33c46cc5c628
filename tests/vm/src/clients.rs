// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that know nothing of the driver.

use crate::driver::{self, get, pattern, put, SIZE};
use crate::library::lesson;
use crate::node::MadeByHand;
use std::fs;
use std::process::{Command, Output};

crate::tests! {
    dd_reads_and_writes_parts
    dd_meets_the_end
    cat_head_and_tail_read
    cat_writes
    cmp_compares
    xxd_shows_and_patches
    python_maps_and_reads
    numpy_maps_arrays
    fio_verifies_what_it_wrote
    the_lesson_s_own_program_works
}

/// A folder for what these tests leave behind.
const FOLDER: &str = "/tmp/chrmem-clients";

/// Runs a shell script in [`FOLDER`], which has the device's bytes in the file `pattern`.
fn run(script: &str) -> Output {
    fs::create_dir_all(FOLDER).expect(FOLDER);
    fs::write(format!("{FOLDER}/pattern"), pattern(SIZE)).expect(FOLDER);
    put(driver::open(), 0, &pattern(SIZE));
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(FOLDER)
        .output();
    let output = output.expect("sh runs");
    fs::remove_dir_all(FOLDER).expect(FOLDER);
    output
}

/// What a script printed that must succeed.
fn sh(script: &str) -> Vec<u8> {
    let output = run(script);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script}: {}: {complaint}",
        output.status
    );
    output.stdout
}

/// Runs a Python program that must succeed.
fn python(program: &str) {
    sh(&format!("python3 - <<'END'\n{program}\nEND"));
}

/// The device's bytes.
fn bytes() -> Vec<u8> {
    get(driver::open(), 0, SIZE)
}

fn dd_reads_and_writes_parts() {
    let part = sh("dd if=/dev/chrmem0 bs=512 skip=3 count=2 status=none");
    assert_eq!(part, pattern(SIZE)[1536..2560]);
    let part = sh("dd if=/dev/chrmem0 bs=7 skip=100 count=10 iflag=skip_bytes status=none");
    assert_eq!(part, pattern(SIZE)[100..170]);
    sh("printf 0123456789abcdef | dd of=/dev/chrmem0 bs=16 seek=10 conv=notrunc,fsync status=none");
    let mut expected = pattern(SIZE);
    expected[160..176].copy_from_slice(b"0123456789abcdef");
    assert_eq!(bytes(), expected);
}

fn dd_meets_the_end() {
    let all = sh("dd if=/dev/chrmem0 bs=1000 status=none");
    assert_eq!(all, pattern(SIZE));
    let none = run(&format!(
        "dd if=/dev/chrmem0 bs={SIZE} skip=2 count=1 status=none"
    ));
    assert_eq!(none.stdout, b"");
    let size = match SIZE {
        4096 => "4.1 kB, 4.0 KiB",
        _ => "16 kB, 16 KiB",
    };
    let over = run("dd if=/dev/zero of=/dev/chrmem0 bs=1000");
    let complaint = String::from_utf8_lossy(&over.stderr);
    assert_eq!(over.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("No space left on device"), "{complaint}");
    assert!(
        complaint.contains(&format!("{SIZE} bytes ({size}) copied")),
        "{complaint}"
    );
    assert_eq!(bytes(), vec![0; SIZE]);
}

fn cat_head_and_tail_read() {
    assert_eq!(sh("cat /dev/chrmem0"), pattern(SIZE));
    let twice = format!("{}\n", 2 * SIZE);
    assert_eq!(
        sh("cat /dev/chrmem0 /dev/chrmem0 | wc -c"),
        twice.as_bytes()
    );
    assert_eq!(sh("head -c 100 /dev/chrmem0"), pattern(SIZE)[..100]);
    assert_eq!(sh("tail -c 100 /dev/chrmem0"), pattern(SIZE)[SIZE - 100..]);
    assert_eq!(sh("tail -c +4000 /dev/chrmem0"), pattern(SIZE)[3999..]);
}

fn cat_writes() {
    sh("printf hello | cat > /dev/chrmem0");
    assert_eq!(bytes()[..5], *b"hello");
    assert_eq!(bytes()[5..], pattern(SIZE)[5..]);
    let over = run("cat pattern pattern > /dev/chrmem0");
    let complaint = String::from_utf8_lossy(&over.stderr);
    assert!(complaint.contains("No space left on device"), "{complaint}");
    assert_eq!(bytes(), pattern(SIZE));
}

fn cmp_compares() {
    sh("cmp /dev/chrmem0 pattern");
    let differs =
        run("printf x | dd of=/dev/chrmem0 bs=1 seek=99 status=none; cmp /dev/chrmem0 pattern");
    let printed = String::from_utf8_lossy(&differs.stdout);
    assert_eq!(differs.status.code(), Some(1));
    assert!(
        printed.starts_with("/dev/chrmem0 pattern differ: byte 100"),
        "{printed}"
    );
}

fn xxd_shows_and_patches() {
    assert_eq!(sh("xxd -p -l 8 /dev/chrmem0"), b"0001020304050607\n");
    assert_eq!(
        sh("xxd -s 16 -l 4 /dev/chrmem0"),
        b"00000010: 1011 1213                                ....\n"
    );
    assert_eq!(sh("xxd -p /dev/chrmem0 | xxd -r -p"), pattern(SIZE));
    sh("echo '00000100: 4142 43' | xxd -r - /dev/chrmem0");
    assert_eq!(
        bytes()[0x100..0x104],
        [b'A', b'B', b'C', pattern(SIZE)[0x103]]
    );
}

fn python_maps_and_reads() {
    python(
        r#"
import errno, mmap, os, select, struct
P = mmap.PAGESIZE
pattern = open("pattern", "rb").read()
fd = os.open("/dev/chrmem0", os.O_RDWR)
assert os.lseek(fd, 0, os.SEEK_END) == P
m = mmap.mmap(fd, P)
assert m[:] == pattern
m[10:15] = b"store"
assert os.pread(fd, 5, 10) == b"store"
assert os.pwrite(fd, b"write", 20) == 5
assert m[20:25] == b"write"
assert m.find(b"store") == 10
struct.pack_into("<Q", m, P - 8, 0x1122334455667788)
assert os.pread(fd, 8, P - 8)[::-1].hex() == "1122334455667788"
m.flush()
m.flush(0, P)
part = mmap.mmap(fd, 100, prot=mmap.PROT_READ)
assert part[10:15] == b"store"
for size, offset, error in [(2 * P, 0, errno.EINVAL), (P, P, errno.ENXIO)]:
    try:
        mmap.mmap(fd, size, offset=offset)
        raise SystemExit("mapped %d bytes at %d" % (size, offset))
    except OSError as refused:
        assert refused.errno == error, refused
poll = select.poll()
poll.register(fd, select.POLLIN)
assert poll.poll(0) == [(fd, select.POLLIN)]
m.close()
part.close()
os.close(fd)
with open("/dev/chrmem0", "rb") as file:
    file.seek(-8, os.SEEK_END)
    assert file.read()[::-1].hex() == "1122334455667788"
with open("/dev/chrmem0", "r+b", buffering=0) as file:
    assert file.write(pattern + b"more") == P
    assert file.tell() == P
"#,
    );
}

fn numpy_maps_arrays() {
    python(
        r#"
import numpy as np
raw = open("pattern", "rb").read()
words = len(raw) // 4
a = np.memmap("/dev/chrmem0", dtype="<u4", mode="r+")
assert a.shape == (words,), a.shape
assert a.tobytes() == raw
a[:] = np.arange(words)
a.flush()
b = np.memmap("/dev/chrmem0", dtype="<u4", mode="r")
assert int(b.sum()) == words * (words - 1) // 2
a[7] = 77
assert b[7] == 77
part = np.memmap("/dev/chrmem0", dtype="<u2", mode="r", offset=4000, shape=(4, 5))
assert part[0, 0] == 1000 and part[0, 1] == 0
records = np.memmap("/dev/chrmem0", dtype=[("id", "<u2"), ("x", "<f4"), ("y", "<f8")], mode="r+", shape=(100,))
records["id"] = range(100)
records["y"] = np.linspace(0, 1, 100)
records.flush()
again = np.fromfile("/dev/chrmem0", dtype=records.dtype, count=100)
assert (again["id"] == np.arange(100)).all() and again["y"][99] == 1.0
private = np.memmap("/dev/chrmem0", dtype="u1", mode="c")
private[:] = 255
assert np.fromfile("/dev/chrmem0", dtype="u1").min() == 0
np.arange(words // 2, dtype="<u8").tofile("/dev/chrmem0")
assert (np.fromfile("/dev/chrmem0", dtype="<u8") == np.arange(words // 2)).all()
"#,
    );
}

/// Written by one way and verified by another: a page in the wrong place shows.
fn fio_verifies_what_it_wrote() {
    const SIZE: usize = 1 << 20;
    driver::with(&format!("size={SIZE}"), || {
        let job = "fio --name=x --filename=/dev/chrmem0 --thread --direct=0 --size=1m --bs=4k \
                   --verify=crc32c --verify_fatal=1 --verify_state_save=0 --output-format=terse";
        sh(&format!(
            "{job} --rw=write --ioengine=psync --do_verify=0
             {job} --rw=write --ioengine=mmap --verify_only
             {job} --rw=write --ioengine=mmap --do_verify=0
             {job} --rw=write --ioengine=psync --verify_only
             {job} --rw=randwrite --ioengine=vsync"
        ));
        assert_ne!(get(driver::open(), 0, SIZE), vec![0; SIZE]);
    });
}

fn the_lesson_s_own_program_works() {
    fs::write("/tmp/lesson.c", include_str!("../lesson.c")).expect("/tmp");
    let compiled = Command::new("gcc")
        .args(["-Wall", "-Wextra", "-o", "lesson", "lesson.c"])
        .current_dir("/tmp")
        .output()
        .expect("gcc runs");
    let complaint = String::from_utf8_lossy(&compiled.stderr);
    assert!(
        compiled.status.success() && complaint.is_empty(),
        "{complaint}"
    );
    driver::with("", || {
        let _node = MadeByHand::new("/dev/sln_memdev", 0);
        let output = Command::new("/tmp/lesson")
            .output()
            .expect("the program runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complaint.is_empty(),
            "{complaint}"
        );
        // C's `printf` leaves a blank where the string is empty.
        let lesson = lesson().replace("=\n", "= \n");
        assert_eq!(String::from_utf8_lossy(&output.stdout), lesson);
    });
}
