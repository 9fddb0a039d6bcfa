//! The options of a URL: `name=value&name=value`, where what is behind `%` in a value is decoded.

#[cfg(any(feature = "ingest", feature = "redis", feature = "webhook"))]
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

#[cfg(any(feature = "ingest", feature = "webhook"))]
use crate::password::Password;

/// The options of a URL, each known and given once.
pub(crate) struct Options(Vec<(String, String)>);

impl Options {
    /// Parses options, of which there are `known`. Those of `repeated` may be there several times.
    pub(crate) fn parse(query: &str, known: &[&str], repeated: &[&str]) -> Result<Self, String> {
        let mut options: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            // The value is not repeated: it may be a secret that is in the wrong place.
            let (name, value) = pair.split_once('=').ok_or("an option is not name=value")?;
            if !known.contains(&name) {
                return Err(format!("no option is called \"{name}\" (there are: {})", known.join(", ")));
            }
            if value.is_empty() {
                return Err(format!("option \"{name}\" has no value"));
            }
            if !repeated.contains(&name) && options.iter().any(|(known, _)| known == name) {
                return Err(format!("option \"{name}\" is there twice"));
            }
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| format!("what is behind % in option \"{name}\" is not UTF-8"))?;
            options.push((name.to_owned(), value.into_owned()));
        }
        Ok(Self(options))
    }

    /// Refuses two options that say the same in two ways.
    #[cfg(any(feature = "ingest", feature = "redis", feature = "webhook"))]
    pub(crate) fn exclusive(&self, one: &str, other: &str) -> Result<(), String> {
        match (self.get(one), self.get(other)) {
            (Some(_), Some(_)) => Err(format!("{one}= and {other}= exclude each other")),
            _ => Ok(()),
        }
    }

    /// Returns where a secret is, of which an option names the file, or another the environment variable.
    #[cfg(any(feature = "ingest", feature = "webhook"))]
    pub(crate) fn secret(&self, file: &str, variable: &str) -> Result<Password, String> {
        self.exclusive(file, variable)?;
        let file = self.get(file).map(|path| Password::File(path.into()));
        let variable = self.get(variable).map(|name| Password::Variable(name.to_owned()));
        Ok(file.or(variable).unwrap_or(Password::None))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Returns all values of an option, in their order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a number that cannot be zero.
    #[cfg(any(feature = "ingest", feature = "redis", feature = "webhook"))]
    pub(crate) fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{name}={text}: it should be a number from 1 on"));
        self.get(name).map(number).transpose()
    }

    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        let duration = |text: &str| {
            humantime::parse_duration(text).map_err(|e| format!("{name}={text}: it should be a time as 1h ({e})"))
        };
        self.get(name).map(duration).transpose()
    }
}
