// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waiting for a device's changes among everything else that a program waits for, with tokio.
//!
//! ```console
//! # cargo run --example async -- /dev/chrmem0
//! generation 4, starts with `hello, user!`
//! ```
//!
//! It ends after three changes, which `chrmem reset`, `chrmem notify` and the like make, or when nothing
//! has changed for ten seconds.

use chrmem::{Device, MapOptions};
use std::error::Error;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::Interest;
use tokio::time::timeout;

/// Waits for the next change: the new generation.
async fn changed(device: &AsyncFd<Device>) -> chrmem::Result<u64> {
    loop {
        let answer = device.async_io(Interest::READABLE, |device| {
            // Readable means that there is a change that was not seen. Another task could have seen it
            // since, so that this must not wait.
            match device.wait(Some(Duration::ZERO))? {
                Some(generation) => Ok(generation),
                None => Err(std::io::ErrorKind::WouldBlock.into()),
            }
        });
        match answer.await {
            Ok(generation) => return Ok(generation),
            // What the library said is inside, as it was.
            Err(error) => match error.downcast::<chrmem::Error>() {
                Ok(error) => return Err(error),
                Err(error) => eprintln!("once more, after: {error}"),
            },
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1);
    let path = path.as_deref().unwrap_or("/dev/chrmem0");
    let device = Device::open(path)?;
    let memory = MapOptions::new().window(0).read_only().map(&device)?;
    // Only what is new from here on.
    device.seen()?;
    #[allow(
        deprecated,
        reason = "its successor is unsafe, for types that could close their descriptor while it is \
                  registered; a `Device` has one for as long as it lives"
    )]
    let device = AsyncFd::with_interest(device, Interest::READABLE)?;
    for _ in 0..3 {
        let Ok(generation) = timeout(Duration::from_secs(10), changed(&device)).await else {
            println!("nothing changed in ten seconds");
            break;
        };
        let text = memory.c_string(0)?;
        let text = String::from_utf8_lossy(&text);
        println!("generation {}, starts with `{text}`", generation?);
    }
    Ok(())
}
