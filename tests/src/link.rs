//! A bad network between this machine's programs: a second network namespace, joined to ours by two TUN devices, and between
//! these a forwarder that delays packets, loses some, keeps to a rate, or lets nothing through. All of it can be changed while it
//! runs. The kernel's own `netem` would do as much, but is not everywhere.
//!
//! What belongs here: namespaces, devices and the threads that carry packets. What becomes of a packet stands in `way`.
//! Invariant: namespace and devices are held by open files alone, and so end with the link, or with this process however that ends.

mod way;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, SyncDevice};

pub use way::Conditions;
use way::{Fate, Way};

/// Of 198.18.0.0/15, which is set aside for such benchmarks (RFC 2544, appendix C.2.2): four addresses a link.
const NETWORK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const LINKS: u32 = 1 << 15;
const MTU: usize = 1_500;
/// Packets that the kernel keeps for us: more than a key frame has.
const DEVICE_QUEUE: &str = "4000";
/// Packets on their way, each way: 30 MB. A link without a rate could hold any number otherwise.
const ON_THEIR_WAY_MAX: usize = 20_000;
/// How soon a thread sees that it should end.
const LOOK_UP: Duration = Duration::from_millis(50);
/// A carrier that waits for a processor is a delay that nobody asked for.
const PRIORITY: i32 = -20;

/// What is lacking for a link on this machine, if something is.
pub fn missing() -> Option<String> {
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    if let Err(e) = tun {
        return Some(format!(
            "/dev/net/tun cannot be opened ({e}): a link needs TUN devices, and root to make them"
        ));
    }
    if let Err(e) = new_namespace() {
        return Some(format!("no network namespace can be made ({e:#}): a link needs root (CAP_SYS_ADMIN)"));
    }
    let ip = Command::new("ip").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ip.err().map(|e| format!("ip cannot be started ({e}): install iproute2"))
}

/// What happened to packets, both ways together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Arrived.
    pub passed: u64,
    /// Lost, by chance or in an outage.
    pub lost: u64,
    /// Dropped in front of a link that was slower than they came.
    pub overflowed: u64,
}

#[derive(Debug, Default)]
struct Shared {
    conditions: Mutex<Conditions>,
    passed: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
    stopped: AtomicBool,
}

impl Shared {
    fn conditions(&self) -> Conditions {
        *self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link between our network namespace and another one. Whoever is beyond sees nothing but our end of it.
#[derive(Debug)]
pub struct Link {
    host: Ipv4Addr,
    namespace: File,
    shared: Arc<Shared>,
    carriers: Vec<JoinHandle<()>>,
}

impl Link {
    /// Makes a link without faults; which packets it will lose follows from `seed`.
    pub fn start(seed: u64) -> Result<Self> {
        if let Some(missing) = missing() {
            bail!("{missing}");
        }
        let (host, far) = free_addresses()?;
        let near = format!("sl{}n{}", std::process::id(), host.octets()[3] >> 2);
        let near = device(&near, host)?;
        let namespace = new_namespace()?;
        let far = inside(&namespace, || {
            ip(&["link", "set", "lo", "up"])?;
            device("link", far)
        })?;
        let shared = Arc::new(Shared::default());
        let (near, far) = (Arc::new(near), Arc::new(far));
        let mut carriers = vec![];
        for (from, to, seed) in [(near.clone(), far.clone(), seed), (far, near, !seed)] {
            let shared = shared.clone();
            carriers.push(std::thread::spawn(move || carry(&from, &to, Way::new(seed), &shared)));
        }
        Ok(Self { host, namespace, shared, carriers })
    }

    /// The address of our end: what listens there can be reached from beyond.
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// Changes what it is like, from now on.
    pub fn set(&self, conditions: Conditions) {
        *self.shared.conditions.lock().unwrap_or_else(PoisonError::into_inner) = conditions;
    }

    /// What it is like.
    pub fn conditions(&self) -> Conditions {
        self.shared.conditions()
    }

    /// What has happened to packets.
    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { passed, lost, overflowed, .. } = &*self.shared;
        Counts { passed: of(passed), lost: of(lost), overflowed: of(overflowed) }
    }

    /// Does something at the far end: programs that it starts, and sockets that it opens, stay there.
    pub fn beyond<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside(&self.namespace, what)
    }

    /// Lets the kernel forget what it has learnt of the link: how long it takes, how much it loses.
    pub fn forget(&self) {
        // An error says that it has learnt nothing.
        let _ = ip(&["tcp_metrics", "flush", &far_of(self.host).to_string()]);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            // One that has panicked is as gone as one that ended.
            let _ = carrier.join();
        }
    }
}

fn far_of(host: Ipv4Addr) -> Ipv4Addr {
    (host.to_bits() + 1).into()
}

/// Two addresses that no other link has.
fn free_addresses() -> Result<(Ipv4Addr, Ipv4Addr)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..LINKS {
        // Processes that run at a time have numbers far apart, or one behind the other.
        let number = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let host = Ipv4Addr::from(NETWORK.to_bits() + number % LINKS * 4 + 1);
        match UdpSocket::bind((host, 0)) {
            Err(e) if e.kind() == ErrorKind::AddrNotAvailable => return Ok((host, far_of(host))),
            _ => {}
        }
    }
    bail!("each address of {NETWORK}/15 is somebody's")
}

/// A network namespace in which nobody is yet.
fn new_namespace() -> Result<File> {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        anyhow::Ok(File::open("/proc/thread-self/ns/net")?)
    };
    // Only this thread moves there, and ends.
    std::thread::spawn(make).join().map_err(|_| anyhow!("the thread panicked"))?
}

/// Does something in a namespace.
fn inside<T: Send>(namespace: &File, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let go = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")?;
        what()
    };
    std::thread::scope(|scope| scope.spawn(go).join()).map_err(|_| anyhow!("the thread panicked"))?
}

/// A TUN device in this thread's namespace, with this address and its neighbour behind it.
fn device(name: &str, address: Ipv4Addr) -> Result<SyncDevice> {
    let device = DeviceBuilder::new().name(name).enable(false).build_sync();
    let device = device.with_context(|| format!("cannot make the TUN device {name}"))?;
    device.set_nonblocking(true)?;
    ip(&["address", "add", &format!("{address}/30"), "dev", name])?;
    ip(&["link", "set", "dev", name, "mtu", &MTU.to_string(), "txqueuelen", DEVICE_QUEUE, "up"])?;
    Ok(device)
}

fn ip(arguments: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(arguments).output().context("cannot start ip: install iproute2")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// Carries packets from one device to the other.
fn carry(from: &SyncDevice, to: &SyncDevice, mut way: Way, shared: &Shared) {
    // Without it the figures are only less good.
    let _ = rustix::process::setpriority_process(None, PRIORITY);
    let mut on_their_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut packet = [0; MTU + 100];
    while !shared.stopped.load(Ordering::Relaxed) {
        let conditions = shared.conditions();
        // As many as fit before somebody else's time comes.
        for _ in 0..16 {
            let Ok(len) = from.recv(&mut packet) else { break };
            // What looks for neighbours by IPv6 is nobody's here.
            if packet[0] >> 4 != 4 {
                continue;
            }
            let fate = way.take(Instant::now(), len, &conditions);
            match fate {
                Fate::At(at) if on_their_way.len() < ON_THEIR_WAY_MAX => {
                    on_their_way.push_back((at, packet[..len].to_vec()));
                }
                Fate::Lost => _ = shared.lost.fetch_add(1, Ordering::Relaxed),
                Fate::At(_) | Fate::Overflowed => _ = shared.overflowed.fetch_add(1, Ordering::Relaxed),
            }
        }
        let now = Instant::now();
        while let Some((_, packet)) = on_their_way.pop_front_if(|(at, _)| *at <= now) {
            // A device that does not take it is a loss like any other.
            let arrives = !conditions.is_out && to.send(&packet).is_ok();
            let count = if arrives { &shared.passed } else { &shared.lost };
            count.fetch_add(1, Ordering::Relaxed);
        }
        let until = on_their_way.front().map_or(LOOK_UP, |(at, _)| at.saturating_duration_since(now));
        let wait = Timespec::try_from(until.min(LOOK_UP)).ok();
        // It fails when a signal comes: then it is looked at sooner.
        let _ = poll(&mut [PollFd::new(from, PollFlags::IN)], wait.as_ref());
    }
}
