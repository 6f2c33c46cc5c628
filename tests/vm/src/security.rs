// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who can do what: others, the group that a node is given to, the root of a container, root without
//! `CAP_SYS_RAWIO`; and what nobody is told.

use crate::driver::{self, get, open_node, put, users};
use crate::folder::Folder;
use crate::kcore;
use crate::kmsg::Mark;
use crate::memory;
use crate::pci::Pci;
use crate::report::fact;
use crate::sys::{ioctl, Buffer, Map, PAGE};
use chrmem_uapi::abi;
use libc::{PROT_READ, PROT_WRITE};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

crate::tests! {
    who_can_do_what
    a_container_s_device_rules_hold
    an_old_node_is_for_whichever_device_has_its_number
    describing_a_window_is_not_audited
    nobody_is_told_an_address_of_the_kernel
    no_bytes_of_another_device_or_process
    no_bytes_between_the_bytes
}

/// The group that the node is given to, as the packaged rule does it.
const GROUP: u32 = 65500;

/// What everybody tries, and what it printed: `THING: yes`, `THING: no` or an errno.
const PROBE: &str = r#"
import ctypes, errno, fcntl, mmap, os, stat, struct, tempfile
libc = ctypes.CDLL(None, use_errno=True)
CONFIG = "/sys/kernel/config/chrmem"
fd = None
def attempt(thing, act):
    try:
        print(thing + ": " + ("no" if act() is False else "yes"))
    except OSError as error:
        print(thing + ": " + errno.errorcode[error.errno])
def open_it():
    global fd
    fd = os.open(NODE, os.O_RDWR)
def map_it():
    if fd is None: return False
    mmap.mmap(fd, mmap.PAGESIZE)[0] = 1
def notify():
    if fd is None: return False
    fcntl.ioctl(fd, NOTIFY)
def address():
    if fd is None: return False
    window = bytearray(WINDOW_SIZE)
    fcntl.ioctl(fd, WINDOW, window)
    return struct.unpack_from("<Q", window, ADDRESS_AT)[0] != 2**64 - 1
def read(path):
    return lambda: open(path).read() and None
def make(settings):
    folder = CONFIG + "/made"
    def act():
        os.mkdir(folder)
        try:
            os.mkdir(folder + "/windows/one")
            for name, value in settings.items():
                open(folder + "/windows/one/" + name, "w").write(value)
            with open(folder + "/live", "w") as live:
                live.write("1")
        finally:
            if os.path.exists(folder + "/windows/one"):
                os.rmdir(folder + "/windows/one")
            os.rmdir(folder)
    return act
def node():
    path = tempfile.mktemp()
    os.mknod(path, stat.S_IFCHR | 0o600, DEVICE)
    try:
        os.close(os.open(path, os.O_RDWR))
    finally:
        os.unlink(path)
def load():
    # Not a module, which only those are told who may load one.
    with open("/etc/hostname") as file:
        answer = libc.syscall(FINIT_MODULE, file.fileno(), b"", 0)
    if ctypes.get_errno() != errno.ENOEXEC:
        raise OSError(ctypes.get_errno(), "")
attempt("open the node", open_it)
attempt("map and store", map_it)
attempt("notify", notify)
attempt("be told addresses", address)
attempt("read debugfs", read("/sys/kernel/debug/chrmem/chrmem-test"))
attempt("read settings", read(CONFIG + "/test/windows/one/address"))
attempt("make a node", node)
attempt("make a device", make({"size": str(mmap.PAGESIZE)}))
attempt("make a physical window", make({"size": str(mmap.PAGESIZE), "memory": "physical", "address": BAR}))
attempt("load a module", load)
"#;

/// Who tries: the name, how the program is started, the node's mode and group.
const WHO: [(&str, &str, u32, u32); 6] = [
    ("root", "", 0o600, 0),
    (
        "root without CAP_SYS_RAWIO",
        "setpriv --bounding-set=-sys_rawio --inh-caps=-sys_rawio",
        0o600,
        0,
    ),
    ("others", OTHERS, 0o660, GROUP),
    (
        "the node's group",
        "setpriv --reuid=65534 --regid=65534 --groups=65500",
        0o660,
        GROUP,
    ),
    ("a container's root", CONTAINER, 0o660, GROUP),
    ("a container's root, node given", CONTAINER, 0o666, GROUP),
];
const OTHERS: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";
/// Made by somebody without any right.
const CONTAINER: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups \
                         unshare --user --map-root-user --mount --pid --fork";

/// What each is to be answered, in the order of [`WHO`].
const ANSWERS: [(&str, [&str; 6]); 10] = [
    (
        "open the node",
        ["yes", "yes", "EACCES", "yes", "EACCES", "yes"],
    ),
    ("map and store", ["yes", "yes", "no", "yes", "no", "yes"]),
    ("notify", ["yes", "yes", "no", "yes", "no", "yes"]),
    ("be told addresses", ["yes", "no", "no", "no", "no", "no"]),
    (
        "read debugfs",
        ["yes", "yes", "EACCES", "EACCES", "EACCES", "EACCES"],
    ),
    (
        "read settings",
        ["yes", "yes", "EACCES", "EACCES", "EACCES", "EACCES"],
    ),
    (
        "make a node",
        ["yes", "yes", "EPERM", "EPERM", "EPERM", "EPERM"],
    ),
    (
        "make a device",
        ["yes", "yes", "EACCES", "EACCES", "EACCES", "EACCES"],
    ),
    (
        "make a physical window",
        ["yes", "EPERM", "EACCES", "EACCES", "EACCES", "EACCES"],
    ),
    (
        "load a module",
        ["yes", "yes", "EPERM", "EPERM", "EPERM", "EPERM"],
    ),
];

fn who_can_do_what() {
    // Its first window has an address to tell.
    let folder = Folder::live("test", &[("one", "memory=contiguous size=1page")]);
    let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
    let device =
        std::os::unix::fs::MetadataExt::rdev(&fs::metadata(folder.node()).expect("a node"));
    let program = format!(
        "NODE, DEVICE, BAR = '{}', {device}, '{bar:#x}'\nNOTIFY, WINDOW = {:#x}, {:#x}\n\
         WINDOW_SIZE, ADDRESS_AT, FINIT_MODULE = {}, {}, {}\n{PROBE}",
        folder.node(),
        abi::NOTIFY,
        abi::WINDOW,
        size_of::<abi::Window>(),
        std::mem::offset_of!(abi::Window, address),
        libc::SYS_finit_module,
    );
    fs::write("/tmp/probe.py", program).expect("/tmp");
    for (column, (who, launcher, mode, group)) in WHO.into_iter().enumerate() {
        rustix::fs::chmod(folder.node(), mode.into()).expect("chmod");
        std::os::unix::fs::chown(folder.node(), None, Some(group)).expect("chown");
        let output = Command::new("sh")
            .args(["-c", &format!("cd / && {launcher} python3 /tmp/probe.py")])
            .output()
            .expect("sh runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{who}: {printed}{complaint}");
        let answers: Vec<_> = printed
            .lines()
            .map(|line| line.split_once(": ").expect("an answer"))
            .collect();
        let expected: Vec<_> = ANSWERS
            .iter()
            .map(|(thing, answers)| (*thing, answers[column]))
            .collect();
        assert_eq!(answers, expected, "{who}");
    }
    for (thing, answers) in ANSWERS {
        for ((who, ..), answer) in WHO.iter().zip(answers) {
            fact("security", &format!("{thing} × {who}"), answer);
        }
    }
    fs::remove_file("/tmp/probe.py").expect("/tmp");
    drop(folder);
    assert_eq!(users(), Some(0));
}

/// A cgroup whose rules let nobody open any device: what is open stays so, and nothing else is opened.
fn a_container_s_device_rules_hold() {
    let folder = Folder::live("test", &[("one", "size=1page")]);
    put(folder.open(), 0, b"shared");
    let program = r#"
import ctypes, errno, mmap, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    answer = libc.syscall(BPF, command, buffer, 128)
    assert answer >= 0, os.strerror(ctypes.get_errno())
    return answer
# A program for device cgroups that says no: r0 = 0; exit.
code = ctypes.create_string_buffer(bytes.fromhex("b700000000000000" "9500000000000000"))
license = ctypes.create_string_buffer(b"GPL")
no = bpf(5, struct.pack("<IIQQ", 15, 2, ctypes.addressof(code), ctypes.addressof(license)))
group = os.open("/tmp/cgroup/test", os.O_RDONLY | os.O_DIRECTORY)
bpf(8, struct.pack("<IIII", group, no, 6, 0))
early = os.open("/dev/chrmem-test", os.O_RDWR)
m = mmap.mmap(early, mmap.PAGESIZE)
with open("/tmp/cgroup/test/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
for node in ["/dev/chrmem-test", "/dev/chrmem0"]:
    for flags in [os.O_RDONLY, os.O_WRONLY, os.O_RDWR]:
        try:
            os.open(node, flags)
            raise SystemExit("opened")
        except PermissionError as error:
            assert error.errno == errno.EPERM
assert m[:6] == b"shared" and os.pread(early, 6, 0) == b"shared"
"#;
    fs::create_dir_all("/tmp/cgroup").expect("/tmp");
    let script = format!(
        "mount -t cgroup2 none /tmp/cgroup && mkdir /tmp/cgroup/test\npython3 - <<'END'\nBPF = {}\n{program}\nEND\n\
         status=$?; rmdir /tmp/cgroup/test; umount /tmp/cgroup; exit $status",
        libc::SYS_bpf
    );
    let output = Command::new("sh").args(["-c", &script]).output();
    let output = output.expect("sh runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    fact(
        "security",
        "open the node × a container with rules against it",
        "EPERM",
    );
}

/// As for all character devices: who was given a number has access to what it stands for, and that may change.
fn an_old_node_is_for_whichever_device_has_its_number() {
    let old = Folder::live("old", &[("one", "size=1page")]);
    let node = old.open_as(OFlags::PATH);
    let open = || {
        open_node(
            format!("/proc/self/fd/{}", node.as_raw_fd()),
            OFlags::RDONLY,
        )
    };
    let (before, new) = (open().expect("open"), Folder::new("new"));
    new.window("one", "size=2pages fill=7");
    drop(old);
    assert_eq!(open().err(), Some(Errno::NXIO));
    new.build();
    assert_eq!(get(open().expect("open"), 0, 2 * PAGE), [7; 2 * PAGE]);
    // Not so for who had it open.
    assert_eq!(
        rustix::io::pread(&before, &mut [0; 1][..], 0),
        Err(Errno::NODEV)
    );
}

/// What the kernel is asked of `CAP_SYS_RAWIO` while something is done: the option word of each question.
fn asked_of_rawio(act: impl FnOnce()) -> Vec<String> {
    const TRACING: &str = "/sys/kernel/tracing";
    let write = |file: &str, text: &str| {
        let path = format!("{TRACING}/{file}");
        let mut file = fs::File::options().append(true).open(&path).expect(&path);
        std::io::Write::write_all(&mut file, text.as_bytes()).expect(&path);
    };
    let run = |words: &[&str]| {
        let status = Command::new(words[0]).args(&words[1..]).status();
        assert!(status.expect("it runs").success(), "{words:?}");
    };
    run(&["mount", "-t", "tracefs", "none", TRACING]);
    // `security_capable(credentials, namespace, capability, options)`.
    write(
        "kprobe_events",
        "p:asked security_capable capability=$arg3:s32 options=$arg4:u32\n",
    );
    let filter = format!("capability == 17 && common_pid == {}", std::process::id());
    write("events/kprobes/asked/filter", &filter);
    write("events/kprobes/asked/enable", "1");
    act();
    write("events/kprobes/asked/enable", "0");
    let trace = fs::read_to_string(format!("{TRACING}/trace")).expect("the trace");
    write("trace", "");
    write("kprobe_events", "-:asked\n");
    run(&["umount", TRACING]);
    let options = trace.lines().filter_map(|line| line.split_once("options="));
    options.map(|(_, options)| options.to_owned()).collect()
}

/// WINDOW answers callers that may not know the address, so the lack of that right is no event for the audit log.
fn describing_a_window_is_not_audited() {
    const NOT_AUDITED: &str = "2";
    let folder = Folder::live("test", &[("one", "memory=contiguous size=1page")]);
    let device = folder.device();
    let asked = asked_of_rawio(|| drop(device.window(0).expect("WINDOW")));
    assert_eq!(asked, [NOT_AUDITED]);
    // To build a window on hardware is.
    let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
    let physical = format!("memory=physical address={bar:#x} size=1page");
    let asked = asked_of_rawio(|| drop(Folder::live("hardware", &[("one", &physical)])));
    assert_eq!(asked, ["0"]);
}

/// Words of a text that look like addresses of the kernel's: `ffff`, and twelve more such digits.
fn pointers(text: &str) -> Vec<&str> {
    let words = text.split(|it: char| !it.is_ascii_hexdigit());
    words
        .filter(|word| word.len() == 16 && word.starts_with("ffff"))
        .collect()
}

/// In no text that the driver makes, for anybody, in no answer of it, and not in its log.
fn nobody_is_told_an_address_of_the_kernel() {
    assert_eq!(pointers("at ffff888012345678."), ["ffff888012345678"]);
    assert_eq!(pointers("ffff888012345678\n0 1"), ["ffff888012345678"]);
    // The kernel's own addresses do look like that.
    let [text, data] = kcore::symbols(["_text", "_edata"]);
    assert!(text >= 0xffff << 48 && data > text);
    let mut searched = 0;
    let log = Mark::now();
    driver::with("size=2pages log_mappings=1", || {
        let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
        let physical = format!("memory=physical address={bar:#x} size=16pages");
        let folder = Folder::live(
            "test",
            &[
                ("pages", "size=16pages"),
                ("run", "size=16pages memory=contiguous"),
                ("dma", "size=16pages memory=dma"),
                ("bar", &physical),
            ],
        );
        let fd = folder.open();
        let map = Map::shared(&fd, 16 * PAGE).expect("a mapping");
        map.write(0, b"text");
        let own = fd.as_raw_fd();
        for path in [
            format!("/proc/self/fdinfo/{own}"),
            "/proc/self/maps".into(),
            "/proc/self/smaps".into(),
            format!("/sys/kernel/debug/chrmem/{}", folder.device_name()),
            format!("/sys/class/chrmem/{}/uevent", folder.device_name()),
            format!("/sys/class/chrmem/{}/dev", folder.device_name()),
            "/sys/module/chrmem/refcnt".into(),
            "/sys/kernel/debug/dma_buf/bufinfo".into(),
        ] {
            let text = fs::read_to_string(&path).unwrap_or_else(|it| panic!("{path}: {it}"));
            // The page that is the kernel's in every process.
            for line in text.lines().filter(|it| !it.contains("[vsyscall]")) {
                assert_eq!(pointers(line), [""; 0], "{path}: {line}");
            }
            searched += 1;
        }
        for window in fs::read_dir(folder.path().join("windows")).expect("windows") {
            for file in fs::read_dir(window.expect("a window").path()).expect("its files") {
                let text = fs::read_to_string(file.expect("a file").path()).expect("text");
                assert_eq!(pointers(&text), [""; 0]);
                searched += 1;
            }
        }
        // Answers of ioctls, byte by byte: also what is between and behind the fields.
        let buffer = Buffer::new(PAGE);
        for (command, index) in [(abi::INFO, 0), (abi::SEEN, 0)]
            .into_iter()
            .chain((0..4).map(|index| (abi::WINDOW, index)))
        {
            buffer.write(0, &[0; 256]);
            buffer.write(0, &u32::to_ne_bytes(index));
            assert_eq!(ioctl(&fd, command, buffer.span(0, 256)), Ok(0));
            let mut answer = buffer.read(0..256);
            let address = std::mem::offset_of!(abi::Window, address);
            if answer[address..address + 8] == abi::ADDRESS_UNKNOWN.to_ne_bytes() {
                answer[address..address + 8].fill(0);
            }
            for word in answer.windows(8) {
                let word = u64::from_ne_bytes(word.try_into().expect("8 bytes"));
                assert!(word >> 48 != 0xffff, "{command:#x} tells {word:#x}");
            }
            searched += 1;
        }
    });
    let lines = log.driver();
    assert!(lines.len() >= 2, "{lines:?}");
    for line in &lines {
        assert_eq!(pointers(line), [""; 0], "{line}");
    }
    fact(
        "security",
        "texts, answers and lines of the log searched for addresses of the kernel",
        searched + lines.len(),
    );
}

/// What secrets are made of.
const SECRET: u8 = 0xa5;

/// Whoever had the memory before: a new window is zero, seen by every way.
fn no_bytes_of_another_device_or_process() {
    const SIZE: usize = 4 << 20;
    let kinds = [
        "",
        "cache=noncached",
        "cache=writecombine",
        "memory=contiguous",
        "memory=contiguous cache=noncached",
        "memory=dma",
    ];
    let mut bytes = 0;
    for kind in kinds {
        memory::dirty(SECRET);
        for other in kinds {
            let old = Folder::live(
                "old",
                &[("one", &format!("size={SIZE} fill={SECRET} {other}"))],
            );
            assert_eq!(get(old.open(), SIZE as u64 - 8, 8), [SECRET; 8]);
            drop(old);
            let folder = Folder::live("test", &[("one", &format!("size={SIZE} {kind}"))]);
            let fd = folder.open_as(OFlags::RDONLY);
            let map = Map::new(Some(fd.as_fd()), 0, SIZE, PROT_READ, libc::MAP_SHARED);
            let map = map.expect("a mapping");
            // Some by loads, all by reads.
            for page in (0..SIZE).step_by(16 * PAGE) {
                assert_eq!(map.read(page..page + 64), [0; 64], "{kind} after {other}");
            }
            assert!(get(&fd, 0, SIZE) == vec![0; SIZE], "{kind} after {other}");
            bytes += SIZE;
        }
    }
    fact(
        "security",
        "MiB of new windows found zero after others' secrets",
        bytes >> 20,
    );
}

/// What a private copy, a partial page and a name shorter than its field have behind them.
fn no_bytes_between_the_bytes() {
    memory::dirty(SECRET);
    driver::with("size=1", || {
        let fd = driver::open();
        // A hundredth of the page is filled, for textbooks' sake.
        assert_eq!(get(&fd, 40, PAGE - 40), [0; PAGE - 40]);
        let flags = libc::MAP_PRIVATE;
        let copy = Map::new(Some(fd.as_fd()), 0, 1, PROT_READ | PROT_WRITE, flags);
        let copy = copy.expect("a mapping");
        copy.write(0, b"x");
        assert_eq!(copy.read(40..PAGE), [0; PAGE - 40]);
        let window = Buffer::new(PAGE);
        window.write(0, &[0; PAGE]);
        let size = size_of::<abi::Window>();
        assert_eq!(ioctl(&fd, abi::WINDOW, window.span(0, size)), Ok(0));
        let answer = window.read(0..size);
        let name = std::mem::offset_of!(abi::Window, name);
        assert_eq!(answer[name..name + 6], *b"buffer");
        assert!(answer[name + 6..].iter().all(|byte| *byte == 0));
        // Nothing is written behind the structure.
        assert_eq!(window.read(size..PAGE), vec![0; PAGE - size]);
    });
    assert!(open_node(driver::NODE, OFlags::RDONLY).is_ok());
}
