//! A child process whose output is kept and that ends with its value.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// What was written, in the order in which it was read, and where to.
type Lines = Arc<Mutex<Vec<(Output, String)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Standard,
    Errors,
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Lines,
    /// Its standard input; it stays open as long as this does.
    pub stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `command`; both its outputs are collected, line by line.
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::start_reading(command, Stdio::piped())
    }

    /// As [`Process::start`], with another standard input, such as another program's output.
    pub fn start_reading(command: &mut Command, input: impl Into<Stdio>) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let lines = Lines::default();
        collect(child.stdout.take(), Output::Standard, &lines);
        collect(child.stderr.take(), Output::Errors, &lines);
        let stdin = child.stdin.take();
        Ok(Self { name, child, lines, stdin })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time it has used, in clock ticks (hundredths of a second).
    pub fn cpu_ticks(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The program's name, in brackets, may hold spaces: count from behind it. utime and stime are fields 14 and 15.
        let fields: Vec<&str> = stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    }

    /// What it has written so far. Lines of its two outputs may have changed places.
    pub fn log(&self) -> String {
        self.text(|_| true)
    }

    /// What it has written to its standard output, once it has ended; errors are not among it.
    pub fn standard_output(&self) -> Result<String> {
        self.wait_for_all()?;
        Ok(self.text(|output| output == Output::Standard))
    }

    /// All it has written, once it has ended.
    pub fn whole_log(&self) -> Result<String> {
        self.wait_for_all()?;
        Ok(self.log())
    }

    /// The threads that collect may still be reading what is left in the pipes of a program that has ended.
    fn wait_for_all(&self) -> Result<()> {
        wait::until("the end of the output", || self.is_all_read().then_some(()))
    }

    fn is_all_read(&self) -> bool {
        Arc::strong_count(&self.lines) == 1
    }

    fn text(&self, of: impl Fn(Output) -> bool) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Vec<&str> =
            lines.iter().filter(|(output, _)| of(*output)).map(|(_, line)| line.as_str()).collect();
        wanted.join("\n")
    }

    /// Waits for a line from which `find` gets something; an early end is an error that shows the log.
    pub fn wait_for_line<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let found = wait::until(what, || {
            // Its last lines may still be on their way when it has ended.
            let ended = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) && self.is_all_read();
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().find_map(|(_, line)| find(line)).map(Some).or_else(|| ended.then_some(None))
        });
        match found {
            Ok(Some(value)) => Ok(value),
            Ok(None) => bail!("{} ended before: {what}. It said:\n{}", self.name, self.log()),
            Err(e) => Err(e).with_context(|| format!("{} said:\n{}", self.name, self.log())),
        }
    }

    /// Stops it where it is; its sockets stay open.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait::until_within(limit, &format!("the end of {}", self.name), || {
            self.child.try_wait().ok().flatten()
        })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid().cast_signed()).context("process id 0")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that another one started, from `/proc`.
#[derive(Clone, Debug)]
pub struct Descendant {
    /// Its command line, with spaces between the arguments.
    pub command: String,
    /// Its resident memory in KiB.
    pub resident_kib: u64,
}

/// What this process started, and what that started.
pub fn descendants(of: u32) -> Result<Vec<Descendant>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        // One that has just ended has no parent any more.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let (mut found, mut ask) = (vec![], vec![of]);
    while let Some(pid) = ask.pop() {
        ask.extend(children.get(&pid).into_iter().flatten());
        let folder = std::path::PathBuf::from(format!("/proc/{pid}"));
        let Ok(status) = std::fs::read_to_string(folder.join("status")) else { continue };
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let command = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        found.push(Descendant {
            command: String::from_utf8_lossy(&command).replace('\0', " "),
            resident_kib: resident
                .and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok())
                .unwrap_or(0),
        });
    }
    Ok(found)
}

fn collect(from: Option<impl Read + Send + 'static>, output: Output, lines: &Lines) {
    let Some(from) = from else { return };
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push((output, line));
        }
    });
}
