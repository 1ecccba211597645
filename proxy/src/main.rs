//! The `sightline` program: arguments into a configuration, and the configuration into an [`App`].

mod probe;

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sightline::{
    app::App,
    config::{Auth, Config, Input, LoadError, Mistake, Overrides, Transport},
    demo,
    ingest::Target,
};

/// Stopped on request.
const OK: u8 = 0;
/// Failed.
const FAILED: u8 = 1;
/// Bad configuration or arguments.
const BAD_CONFIGURATION: u8 = 2;

const DEFAULT_CONFIG: &str = "sightline.toml";

/// Watch RTSP and RTMP cameras in any web browser with less than a second of delay.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 stopped on request, 1 failed, \
    2 bad configuration.\nWithout cameras the configuration file is read: ./sightline.toml, or --config, or \
    SIGHTLINE_CONFIG."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Cameras, each `rtsp://USER:PASSWORD@HOST/PATH` (or rtsps://), `rtmp://HOST/APPLICATION/STREAM`, either as `NAME=URL`, or
    /// `NAME=publish` for one that an encoder pushes (wants --rtmp); no configuration file is read then
    #[arg(value_name = "[NAME=]URL")]
    cameras: Vec<String>,

    #[command(flatten)]
    serve: ServeArgs,

    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Configuration file [default: sightline.toml]
    #[arg(long, value_name = "FILE", env = "SIGHTLINE_CONFIG", global = true)]
    config: Option<PathBuf>,

    /// Address and port for viewers [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", global = true)]
    listen: Option<SocketAddr>,

    /// Address and port for encoders that push by RTMP [default: off]
    #[arg(long, value_name = "ADDR", global = true)]
    rtmp: Option<SocketAddr>,

    /// How the packets of RTSP cameras come: tcp (in their own connection), udp, or auto: tcp, and udp where a camera
    /// refuses that [default: auto]
    #[arg(long, value_name = "auto|tcp|udp", global = true)]
    transport: Option<Carriage>,

    /// How many viewers may be connected at a time [default: 2000]
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_viewers: Option<u32>,

    /// Whether viewers are authenticated; "off" must be written to listen beyond this machine [default: on]
    #[arg(long, value_name = "on|off", global = true)]
    auth: Option<OnOff>,
}

impl ServeArgs {
    fn overrides(&self) -> Overrides {
        let auth = self.auth.map(|auth| match auth {
            OnOff::On => Auth::On,
            OnOff::Off => Auth::Off,
        });
        let transport = self.transport.map(|transport| match transport {
            Carriage::Auto => Transport::Auto,
            Carriage::Tcp => Transport::Tcp,
            Carriage::Udp => Transport::Udp,
        });
        let Self { listen, rtmp, max_viewers, .. } = *self;
        Overrides { listen, auth, rtmp, max_viewers, transport }
    }
}

#[derive(Debug, Args)]
struct LogArgs {
    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", global = true)]
    log: tracing::Level,

    /// How to log
    #[arg(long, value_name = "text|json", default_value = "text", global = true)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a built-in camera, over real RTSP on loopback
    Demo,
    /// Read the configuration and name every mistake with its line; exit code 0 or 2
    Check,
    /// Tell what a camera offers: tracks, codecs, size, rate, key-frame interval, clock
    Probe {
        /// `rtsp://USER:PASSWORD@HOST/PATH` (or rtsps://) or `rtmp://HOST/APPLICATION/STREAM`
        url: String,
        /// A certificate to trust beside the system's, where the address is rtsps:// or rtmps://
        #[arg(long, value_name = "PEM")]
        trust: Option<PathBuf>,
        /// One JSON object instead of a table, also of an error; its keys stay
        #[arg(long)]
        json: bool,
        /// How long to look, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Carriage {
    Auto,
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnOff {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("sightline: cannot start: {error}"));
            return FAILED.into();
        }
    };
    let code = runtime.block_on(run(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code.into()
}

async fn run(cli: Cli) -> u8 {
    let serve_args = &cli.serve;
    match &cli.command {
        Some(Command::Check) => check(serve_args),
        Some(Command::Probe { url, trust, json, seconds }) => {
            let transport = serve_args.overrides().transport;
            match Config::from_urls(&[url], Overrides { transport, ..Overrides::default() }) {
                Ok(config) => {
                    let stream = &config.streams[0];
                    let Input::Source { source, transport, .. } = &stream.input else {
                        return report(Err(anyhow::anyhow!(
                            "an encoder pushes to it: there is nothing to ask"
                        )));
                    };
                    let connect_timeout = std::time::Duration::from_millis(stream.connect_timeout_ms);
                    let target = Target::new(source.clone(), trust.clone(), *transport, connect_timeout);
                    report(probe::run(target, *seconds, *json).await)
                }
                Err(mistakes) => refuse(&mistakes),
            }
        }
        Some(Command::Demo) => match demo::Camera::start().await {
            Ok(camera) => {
                let code = serve_cameras(&[format!("demo={}", camera.url())], serve_args).await;
                drop(camera);
                code
            }
            Err(error) => report(Err(error)),
        },
        None if cli.cameras.is_empty() => match load(serve_args) {
            Ok(config) => report(serve(config).await),
            Err(error) => {
                say(&error.to_string());
                if matches!(error, LoadError::Unreadable { .. }) && serve_args.config.is_none() {
                    say(
                        "Name a camera instead (sightline rtsp://USER:PASSWORD@HOST/PATH), or look at the built-in one \
                         (sightline demo).",
                    );
                }
                BAD_CONFIGURATION
            }
        },
        None => serve_cameras(&cli.cameras, serve_args).await,
    }
}

fn load(args: &ServeArgs) -> Result<Config, LoadError> {
    Config::load_with(config_path(args), args.overrides())
}

fn config_path(args: &ServeArgs) -> PathBuf {
    args.config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into())
}

fn check(args: &ServeArgs) -> u8 {
    match load(args) {
        Ok(config) => {
            print(&format!(
                "{}: no mistakes, {} stream(s)",
                config_path(args).display(),
                config.streams.len()
            ));
            OK
        }
        Err(error) => {
            say(&error.to_string());
            BAD_CONFIGURATION
        }
    }
}

/// Serves cameras that the command line names.
async fn serve_cameras(cameras: &[String], args: &ServeArgs) -> u8 {
    match Config::from_urls(cameras, args.overrides()) {
        Ok(config) => report(serve(config).await),
        Err(mistakes) => refuse(&mistakes),
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Whoever reads the address may ask to stop at once.
    let stop = stop_requested()?;
    let app = App::bind(config).await?;
    print(&format!("Watch at {}", app.url()));
    for url in app.push_urls() {
        print(&format!("Push to {url}/NAME?key=KEY"));
    }
    app.run(stop).await
}

/// Done when somebody asks the program to stop.
#[cfg(unix)]
fn stop_requested() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_requested() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn report(result: anyhow::Result<()>) -> u8 {
    match result {
        Ok(()) => OK,
        Err(error) => {
            say(&format!("sightline: {error:#}"));
            FAILED
        }
    }
}

fn refuse(mistakes: &[Mistake]) -> u8 {
    for mistake in mistakes {
        say(&format!("sightline: {mistake}"));
    }
    BAD_CONFIGURATION
}

/// A line for people or scripts. A reader that went away is no reason to fail.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line about what went wrong.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn start_log(args: &LogArgs) {
    // retina's own lines may hold a camera's whole address, and with it a password.
    let others = args.log.min(tracing::Level::WARN);
    let filter = tracing_subscriber::EnvFilter::new(format!("{others},retina=off,sightline={}", args.log));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
