//! Servers over gRPC that implement only what the tests need.

use bytes::Bytes;
use h2::server::SendResponse;
use ureq::http::{HeaderMap, HeaderValue, Request, Response};

use super::score;

type Answer = fn(&str, &[u8]) -> Option<Vec<u8>>;

/// Starts a server that answers with `answer`, given path and message, until the process ends. Returns its port.
pub fn serve(answer: Answer) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(socket).await?;
                    while let Some(call) = connection.accept().await {
                        let (request, respond) = call?;
                        tokio::spawn(call_of(request, respond, answer));
                    }
                    Ok::<(), h2::Error>(())
                });
            }
        });
    });
    port
}

async fn call_of(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Answer,
) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    super::traced::note(request.headers());
    let (mut stream, mut body) = (request.into_body(), Vec::new());
    while let Some(data) = stream.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    let message = answer(&path, &body[5..]);
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut send = respond.send_response(head, false)?;
    let status = if message.is_some() { "0" } else { "12" };
    if let Some(message) = message {
        let mut framed = vec![0];
        framed.extend((message.len() as u32).to_be_bytes());
        framed.extend(message);
        send.send_data(framed.into(), false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    send.send_trailers(trailers)
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn int(field: u64, value: i64) -> Vec<u8> {
    let mut to = Vec::new();
    varint(&mut to, field << 3);
    varint(&mut to, value as u64);
    to
}

fn bytes(field: u64, bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    varint(&mut to, field << 3 | 2);
    varint(&mut to, bytes.len() as u64);
    to.extend_from_slice(bytes);
    to
}

fn read_varint(from: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = from.split_first().unwrap();
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Returns the bytes of a field.
fn find(mut message: &[u8], wanted: u64) -> &[u8] {
    while !message.is_empty() {
        let tag = read_varint(&mut message);
        if tag & 7 == 0 {
            read_varint(&mut message);
            continue;
        }
        assert_eq!(tag & 7, 2);
        let len = read_varint(&mut message) as usize;
        let (bytes, rest) = message.split_at(len);
        if tag >> 3 == wanted {
            return bytes;
        }
        message = rest;
    }
    panic!("no field {wanted}");
}

/// Scores rows of raw little-endian numbers. Returns the number of rows, and the scores in the same form.
fn scored(raw: &[u8]) -> (i64, Vec<u8>) {
    let cells: Vec<f32> = raw.as_chunks().0.iter().map(|cell| f32::from_le_bytes(*cell)).collect();
    let scores: Vec<u8> = cells.chunks(2).flat_map(|row| score(row).to_le_bytes()).collect();
    (cells.len() as i64 / 2, scores)
}

/// Answers a call of the Open Inference Protocol.
pub fn oip(path: &str, request: &[u8]) -> Option<Vec<u8>> {
    let described = |field: u64, name: &str, shape: Vec<u8>| {
        bytes(field, &[bytes(1, name.as_bytes()), bytes(2, b"FP32"), shape].concat())
    };
    Some(match path.rsplit('/').next()? {
        "ModelReady" => int(1, 1),
        "ModelMetadata" => {
            let sizes = |sizes: &[i64]| sizes.iter().flat_map(|size| int(3, *size)).collect();
            [described(4, "wish", sizes(&[-1, 2])), described(5, "score", sizes(&[-1]))].concat()
        }
        "ModelInfer" => {
            let (rows, scores) = scored(find(request, 7));
            [described(5, "score", int(3, rows)), bytes(6, &scores)].concat()
        }
        _ => return None,
    })
}

/// Answers a call of TensorFlow Serving's protocol. The server does not describe its models.
pub fn tfs(path: &str, request: &[u8]) -> Option<Vec<u8>> {
    if !path.ends_with("Predict") {
        return None;
    }
    let (rows, scores) = scored(find(find(find(request, 2), 2), 4));
    // Some answers have raw bytes, and the others a list of floats.
    let field = if rows % 2 == 0 { 4 } else { 5 };
    let tensor = [int(1, 1), bytes(2, &bytes(2, &int(1, rows))), bytes(field, &scores)].concat();
    Some(bytes(1, &[bytes(1, b"score"), bytes(2, &tensor)].concat()))
}
