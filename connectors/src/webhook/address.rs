//! The URL that requests go to. What is shown of it is scheme, host and port: with many services whoever knows the path or the
//! query may send.

use std::fmt;

use ureq::http::Uri;

/// A URL of HTTP.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    url: String,
    origin: String,
    has_more: bool,
}

impl Address {
    /// Parses a URL. The reason why it is none has nothing of it that may be secret.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or("it does not begin with http:// or https://")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err("a user or a password does not belong in a URL: have the value of Authorization read from a file or an environment variable".to_owned());
        }
        if text.contains('#') {
            return Err("it has a fragment (#…), which is never sent".to_owned());
        }
        let uri: Uri = text.parse().map_err(|e| format!("it is not a URL ({e})"))?;
        let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
        if uri.host().is_none_or(str::is_empty) {
            return Err("it has no host".to_owned());
        }
        if colon.is_some_and(|colon| authority[colon + 1..].parse::<u16>().is_ok_and(|port| port > 0).eq(&false)) {
            return Err("what stands behind the host's colon is not a port".to_owned());
        }
        let origin = text[..text.len() - rest.len() + authority.len()].to_owned();
        let has_more = !matches!(&rest[authority.len()..], "" | "/");
        Ok(Self { url: text.to_owned(), origin, has_more })
    }

    /// Returns the whole URL, to be sent to and not to be shown.
    pub(super) fn whole(&self) -> &str {
        &self.url
    }

    /// Returns what may be secret: path and query together, and each alone; nothing of a URL that has none.
    pub(super) fn hidden(&self) -> Vec<&str> {
        let rest = &self.url[self.origin.len()..];
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        [rest, path, query].into_iter().filter(|part| part.len() > 1).collect()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.url.starts_with("https:")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if self.has_more { f.write_str("/…") } else { Ok(()) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_are_shown() {
        for (text, shown) in [
            ("http://h", "http://h"),
            ("http://h:80/", "http://h:80"),
            ("https://hooks.test/services/T0/hunter2", "https://hooks.test/…"),
            ("https://[::1]:8443?key=hunter2", "https://[::1]:8443/…"),
            ("http://h/@me", "http://h/…"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.to_string().as_str(), address.whole()), (shown, text));
            assert_eq!(
                (format!("{address:?}"), address.is_encrypted()),
                (format!("\"{shown}\""), text.contains("https"))
            );
        }
    }

    #[test]
    fn path_and_query_are_hidden() {
        let hidden = |text: &str| Address::parse(text).unwrap().hidden().join(" ");
        assert_eq!(hidden("https://h/a/b?k=v"), "/a/b?k=v /a/b k=v");
        assert_eq!(hidden("https://h/a"), "/a /a");
        assert_eq!(hidden("https://h/"), "");
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_secrets() {
        for (text, reason) in [
            ("ftp://h/hunter2", "does not begin with http"),
            ("h/hunter2", "does not begin with http"),
            ("http://me:hunter2@h/", "does not belong in a URL"),
            ("http://hunter2@h", "does not belong in a URL"),
            ("http://h/#hunter2", "fragment"),
            ("http:///hunter2", "is not a URL"),
            ("http://h:0/hunter2", "not a port"),
            ("http://h:99999/hunter2", "not a"),
            ("http://h:hunter2/", "not a"),
            ("http://h/hunter2 x", "not a URL"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
