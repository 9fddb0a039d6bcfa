//! Host and port of a URL.

/// Parses `host:port` or `[::1]:port`; without a port it is `default`.
pub(crate) fn host_and_port(text: &str, default: u16) -> Result<(&str, u16), String> {
    let colon = text.rfind(':').filter(|colon| !text[*colon..].contains(']'));
    let (host, port) = colon.map_or((text, None), |colon| (&text[..colon], Some(&text[colon + 1..])));
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() || (host == bare && host.contains(':')) || host.contains(char::is_whitespace) {
        return Err(format!("\"{text}\" is not host:port"));
    }
    match port.map_or(Ok(default), str::parse::<u16>) {
        Ok(port) if port > 0 => Ok((bare, port)),
        _ => Err(format!("\"{}\" is not a port (in \"{text}\")", port.unwrap_or_default())),
    }
}
