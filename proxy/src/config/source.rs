//! PURE: the URL of a camera, and what of it may be shown.
//!
//! Invariant: neither `Display` nor `Debug` nor an error ever contains a user, a password or a query's value that might be
//! a secret. What connects asks for [`Source::credentials`] by name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use url::{Host, Url};

/// Query values that are shown. Cameras spell secrets in too many ways to list those instead.
const HARMLESS: [&str; 16] = [
    "channel",
    "ch",
    "subtype",
    "stream",
    "streamtype",
    "profile",
    "unicast",
    "proto",
    "transportmode",
    "camera",
    "resolution",
    "fps",
    "codec",
    "videocodec",
    "quality",
    "track",
];

/// Where a stream comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct Source(Url);

/// Why a text is no source. Never holds a part of the text but a scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Not a URL.
    #[error(
        "not a URL such as rtsp://user:password@host/path (in a password, write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F)"
    )]
    NotAUrl,
    /// Any other scheme.
    #[error("a source begins with rtsp://, rtsps://, rtmp:// or rtmps://")]
    Scheme,
    /// RTMP names a stream by an application and a name in it.
    #[error("an RTMP source names an application and a stream: rtmp://host/live/name")]
    NoStream,
    /// RTMP has no common way to send them.
    #[error(
        "RTMP takes no user and password in front of the host; write what the server wants behind the name: rtmp://host/live/name?key=..."
    )]
    RtmpCredentials,
    /// No host.
    #[error("the URL names no host")]
    NoHost,
    /// Port 0 cannot be connected to.
    #[error("port 0 cannot be connected to")]
    PortZero,
    /// An address no camera has, but which on many clouds hands out the machine's own secrets.
    #[error("link-local and metadata addresses (169.254.0.0/16, fe80::/10 and the like) are refused")]
    Forbidden,
    /// A `#` cuts a URL short: nearly always an unescaped password.
    #[error("the URL contains a #; in a user or password write it as %23")]
    Fragment,
    /// Would break the headers they are sent in.
    #[error("user and password must be text without control characters")]
    Credentials,
}

/// Why a camera's word of where else it is to be found is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// It is no address, or a forbidden one.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// From RTSPS to RTSP.
    #[error("it leads from rtsps:// to rtsp://, out of the encryption")]
    InTheClear,
}

impl Source {
    /// User and password, percent-decoded; the password is empty where only a user is given.
    pub fn credentials(&self) -> Option<(String, String)> {
        // `from_str` checked that both decode.
        let user = decode(self.0.username())?;
        let password = decode(self.0.password().unwrap_or_default())?;
        (!user.is_empty() || !password.is_empty()).then_some((user, password))
    }

    /// The URL to connect to. Its query may still hold secrets: do not log it, log the `Source`.
    pub fn url_without_credentials(&self) -> Url {
        let mut url = self.0.clone();
        // Both fail only for URLs without host, which `from_str` refuses.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url
    }

    /// The protocol, in lower case: `rtsp`, `rtsps`, `rtmp` or `rtmps`.
    pub fn scheme(&self) -> &str {
        self.0.scheme()
    }

    /// Whether what is said and sent is encrypted.
    pub fn uses_tls(&self) -> bool {
        matches!(self.scheme(), "rtsps" | "rtmps")
    }

    /// The port, or where the protocol listens: RFC 2326, 9.1, and what Axis, Bosch and Hikvision use for RTSPS; RTMP
    /// over TLS has the one of HTTPS.
    pub fn port(&self) -> u16 {
        self.0.port().unwrap_or(match self.scheme() {
            "rtsp" => 554,
            "rtsps" => 322,
            "rtmp" => 1935,
            _ => 443,
        })
    }

    /// Where the camera says that it is to be found, seen from here. The user and the password go along to the same
    /// host only, and what was asked for encrypted is not asked for in the clear.
    ///
    /// # Errors
    /// As for any address, and where it is none of RTSP.
    pub fn redirected(&self, location: &str) -> Result<Self, RedirectError> {
        let mut url = self.url_without_credentials().join(location).map_err(|_| SourceError::NotAUrl)?;
        // Both fail only for URLs without host, which are refused below.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let target: Self = url.as_str().parse()?;
        match (self.scheme(), target.scheme()) {
            ("rtsp", "rtsp" | "rtsps") | ("rtsps", "rtsps") => {}
            ("rtsps", "rtsp") => return Err(RedirectError::InTheClear),
            _ => return Err(SourceError::Scheme.into()),
        }
        let mut url = target.0;
        if url.host_str().map(str::to_ascii_lowercase) == self.0.host_str().map(str::to_ascii_lowercase) {
            let _ = url.set_username(self.0.username());
            let _ = url.set_password(self.0.password());
        }
        Ok(Self(url))
    }

    /// Host as written, for messages.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// Whether no source may be at this address. For names, to be asked again once they are resolved.
pub fn is_forbidden(address: IpAddr) -> bool {
    const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const ALIBABA_METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4 == ALIBABA_METADATA,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == AWS_METADATA,
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::EmptyHost => SourceError::NoHost,
            _ => SourceError::NotAUrl,
        })?;
        let rtmp = match url.scheme() {
            "rtsp" | "rtsps" => false,
            "rtmp" | "rtmps" => true,
            _ => return Err(SourceError::Scheme),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SourceError::NoHost)?;
        // The URL standard leaves a host of rtsp: as it is written; the resolver would still understand 0xa9fea9fe or
        // 2852039166 as an address, so it is read here as it would be in http:.
        let address = match Host::parse(host).map_err(|_| SourceError::NotAUrl)? {
            Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
            Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
            Host::Domain(name) => {
                if name.trim_end_matches('.').eq_ignore_ascii_case("metadata.google.internal") {
                    return Err(SourceError::Forbidden);
                }
                None
            }
        };
        if address.is_some_and(is_forbidden) {
            return Err(SourceError::Forbidden);
        }
        if url.port() == Some(0) {
            return Err(SourceError::PortZero);
        }
        if url.fragment().is_some() {
            return Err(SourceError::Fragment);
        }
        if rtmp && (!url.username().is_empty() || url.password().is_some()) {
            return Err(SourceError::RtmpCredentials);
        }
        if rtmp && !url.path().trim_matches('/').contains('/') {
            return Err(SourceError::NoStream);
        }
        for part in [url.username(), url.password().unwrap_or_default()] {
            if decode(part).is_none_or(|text| text.chars().any(char::is_control)) {
                return Err(SourceError::Credentials);
            }
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.0.scheme())?;
        if !self.0.username().is_empty() || self.0.password().is_some() {
            f.write_str("***@")?;
        }
        f.write_str(self.host())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        // Some cameras want user and password in the path (`/user=admin_password=…`), and a password with a slash, not
        // escaped, leaves its rest there (`rtsp://admin:1/2@host/`).
        for segment in self.0.path().split('/').skip(1) {
            match segment.find(['=', '@', ':', '%']) {
                Some(at) if segment[at..].starts_with('=') => write!(f, "/{}=***", &segment[..at])?,
                Some(_) => f.write_str("/***")?,
                None => write!(f, "/{segment}")?,
            }
        }
        for (n, pair) in self.0.query().into_iter().flat_map(|query| query.split(['&', ';'])).enumerate() {
            f.write_str(if n == 0 { "?" } else { "&" })?;
            match pair.split_once('=') {
                Some((key, value)) if HARMLESS.contains(&key.to_ascii_lowercase().as_str()) => {
                    write!(f, "{key}={value}")?;
                }
                Some((key, _)) => write!(f, "{key}=***")?,
                None => f.write_str("***")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// Percent-decoded; none where the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn credentials_are_decoded_and_taken_out_of_the_url() {
        let s = source("rtsp://ad%40min:p%3Aw%25d@10.0.0.20:8554/Streaming/Channels/101?channel=1");
        assert_eq!(s.credentials(), Some(("ad@min".into(), "p:w%d".into())));
        assert_eq!(
            s.url_without_credentials().as_str(),
            "rtsp://10.0.0.20:8554/Streaming/Channels/101?channel=1"
        );
        assert_eq!(source("rtsp://host/x").credentials(), None);
        assert_eq!(source("rtsp://admin@host/x").credentials(), Some(("admin".into(), String::new())));
        assert_eq!(source("rtsp://[::1]:554/x").host(), "[::1]");
    }

    #[test]
    fn a_redirect_keeps_the_password_to_the_host_and_follows_no_other_scheme() {
        let at = source("rtsp://u:hunter2@cam:8554/old?x=1");
        for (location, url, credentials) in [
            ("rtsp://CAM/new", "rtsp://CAM/new", true),
            ("/new?y=2", "rtsp://cam:8554/new?y=2", true),
            ("rtsp://cam:99/new", "rtsp://cam:99/new", true),
            ("rtsps://cam/new", "rtsps://cam/new", true),
            ("rtsp://other/new", "rtsp://other/new", false),
            ("rtsp://a:b@other/new", "rtsp://other/new", false),
        ] {
            let target = at.redirected(location).unwrap_or_else(|error| panic!("{location}: {error}"));
            assert_eq!(target.url_without_credentials().as_str(), url);
            assert_eq!(target.credentials().is_some(), credentials, "{location}");
        }
        for (location, error) in [
            ("http://cam/", SourceError::Scheme),
            ("rtmp://cam/live/x", SourceError::Scheme),
            ("file:///etc/passwd", SourceError::Scheme),
            ("rtsp://169.254.169.254/latest", SourceError::Forbidden),
            ("rtsp://[fe80::1]/", SourceError::Forbidden),
            ("rtsp://cam:0/", SourceError::PortZero),
        ] {
            assert_eq!(at.redirected(location), Err(error.into()), "{location}");
        }
        let at = source("rtsps://cam/x");
        assert_eq!(at.redirected("rtsp://cam/x"), Err(RedirectError::InTheClear));
        assert!(at.redirected("rtsps://cam/y").is_ok());
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        for (url, shown) in [
            ("rtsp://admin:hunter2@cam/live", "rtsp://***@cam/live"),
            ("rtsp://:hunter2@cam:8554/", "rtsp://***@cam:8554/"),
            ("rtsp://cam", "rtsp://cam"),
            (
                "rtsp://cam/l?channel=1&password=hunter2&TOKEN=hunter2&subtype=0",
                "rtsp://cam/l?channel=1&password=***&TOKEN=***&subtype=0",
            ),
            ("rtsp://cam/l?hunter2", "rtsp://cam/l?***"),
            ("rtsp://cam/l?pass%77ord=hunter2;x=hunter2", "rtsp://cam/l?pass%77ord=***&x=***"),
            ("rtsp://cam/user=admin_password=hunter2_channel=1.sdp", "rtsp://cam/user=***"),
            ("rtsp://admin:12/hunter2@host/live", "rtsp://admin:12/***/live"),
            ("rtsp://cam/admin%3Ahunter2", "rtsp://cam/***"),
            ("rtmp://cam/live/gate?key=hunter2", "rtmp://cam/live/gate?key=***"),
        ] {
            let s = source(url);
            assert_eq!(s.to_string(), shown);
            assert_eq!(format!("{s:?}"), format!("Source({shown})"));
        }
    }

    #[test]
    fn only_cameras_can_be_sources() {
        for (url, error) in [
            ("", SourceError::NotAUrl),
            ("10.0.0.20/live", SourceError::NotAUrl),
            ("rtsp:", SourceError::NoHost),
            ("rtsp:///live", SourceError::NoHost),
            ("rtsp://admin:hunter2@/live", SourceError::NoHost),
            ("rtsp://admin:hunt#er2@host/live", SourceError::NotAUrl),
            ("rtsp://admin:12#hunter2@host/live", SourceError::Fragment),
            ("file:///etc/passwd", SourceError::Scheme),
            ("http://cam/live", SourceError::Scheme),
            ("rtmp://cam/live", SourceError::NoStream),
            ("rtmps://cam//live/", SourceError::NoStream),
            ("rtmp://admin:hunter2@cam/live/gate", SourceError::RtmpCredentials),
            ("rtmp://169.254.169.254/live/gate", SourceError::Forbidden),
            ("rtmpt://cam/live/gate", SourceError::Scheme),
            ("rtsp://cam:0/live", SourceError::PortZero),
            ("rtsp://a%0d%0ab:c@cam/live", SourceError::Credentials),
            ("rtsp://a:%ff@cam/live", SourceError::Credentials),
            ("rtsp://169.254.169.254/latest", SourceError::Forbidden),
            ("rtsp://169.254.0.1./x", SourceError::Forbidden),
            ("rtsp://0xa9fea9fe/x", SourceError::Forbidden),
            ("rtsp://2852039166/x", SourceError::Forbidden),
            ("rtsp://169.254.43518/x", SourceError::Forbidden),
            ("rtsp://%31%369.254.169.254/x", SourceError::Forbidden),
            ("rtsp://[::ffff:169.254.169.254]/x", SourceError::Forbidden),
            ("rtsp://[fe80::1]/x", SourceError::Forbidden),
            ("rtsp://[febf::1]/x", SourceError::Forbidden),
            ("rtsp://[fd00:ec2::254]/x", SourceError::Forbidden),
            ("rtsp://Metadata.Google.Internal./x", SourceError::Forbidden),
        ] {
            let result = url.parse::<Source>();
            assert_eq!(result.as_ref().err(), Some(&error), "{url} -> {result:?}");
            assert!(!error.to_string().contains("hunt"));
        }
        for good in [
            "rtsp://127.0.0.1:9/demo",
            "rtsp://camera.local/x",
            "rtsp://[fd00::5]/x",
            "rtsp://gate_cam/x",
            "rtsps://admin:hunter2@gate/x?y=z",
            "rtmp://h/live/gate?token=x",
            "rtmps://h:1936/app/instance/gate",
        ] {
            source(good);
        }
    }

    proptest! {
        #[test]
        fn no_password_is_ever_shown(user in "[a-z]{1,8}", password in "Q[!-~]{4,12}Z", rest in "[ -~]{0,20}") {
            let url = format!("rtsp://{user}:{password}@host/{rest}");
            if let Ok(source) = url.parse::<Source>() {
                let shown = source.to_string();
                prop_assert!(!shown.contains(&password), "{}", shown);
                if source.host() == "host" {
                    let given = source.credentials().map(|c| c.1);
                    prop_assert!(given.is_some());
                }
            }
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,80}") {
            let _ = text.parse::<Source>().map(|s| (s.to_string(), s.credentials(), s.url_without_credentials()));
        }

        #[test]
        fn any_rtsp_url_is_taken_or_refused(text in "rtsp://[ -~]{0,60}") {
            let _ = text.parse::<Source>().map(|s| (s.to_string(), s.credentials(), s.url_without_credentials()));
        }
    }
}
