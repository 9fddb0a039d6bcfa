//! Keys of a profile in the file of credentials (`~/.aws/credentials`).

use std::path::PathBuf;

use tidemill_engine::ErrorKind;

use super::{Credentials, Keys, Lack};

impl Credentials {
    pub(super) fn profile(&self) -> Result<Keys, Lack> {
        let asked = self.variable("AWS_PROFILE");
        let name = asked.as_deref().unwrap_or("default");
        let home = || self.variable("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
        let path = self.variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home);
        let Some(path) = path else { return Err(Lack::NotThere("HOME is not set".to_owned())) };
        let place = format!("profile \"{name}\" in \"{}\"", path.display());
        let lack = |reason: String| match asked {
            // Whoever names a profile wants no other keys.
            Some(_) => Lack::broken(ErrorKind::Invalid, &place, reason),
            None => Lack::NotThere(format!("{place}: {reason}")),
        };
        let text = std::fs::read_to_string(&path).map_err(|e| lack(e.to_string()))?;
        let setting = |wanted: &str| setting(&text, name, wanted);
        match (setting("aws_access_key_id"), setting("aws_secret_access_key")) {
            (Some(access_key), Some(secret_key)) => {
                let session_token = setting("aws_session_token").map(str::to_owned);
                Ok(Keys { access_key: access_key.into(), secret_key: secret_key.into(), session_token, expires: None })
            }
            (None, None) => Err(lack("it has no aws_access_key_id".to_owned())),
            _ => Err(Lack::broken(
                ErrorKind::Invalid,
                &place,
                "aws_access_key_id and aws_secret_access_key need each other",
            )),
        }
    }
}

/// Returns a setting of a profile: the last one of that name, as AWS's clients do.
fn setting<'a>(text: &'a str, profile: &str, name: &str) -> Option<&'a str> {
    let (mut is_in, mut found) = (false, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[') {
            is_in = section.split(']').next().is_some_and(|section| section.trim() == profile);
        } else if let Some((key, value)) = line.split_once('=')
            && is_in
            && key.trim() == name
        {
            found = Some(value.trim()).filter(|value| !value.is_empty());
        }
    }
    found
}
