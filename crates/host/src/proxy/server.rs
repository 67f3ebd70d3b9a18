//! The state that the connections of one VM's proxy share, and how they connect.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::dial::{DialError, Dialer};
use super::relay::Turns;
use super::target::ProxyTarget;
use crate::credit::Credit;
use crate::events::{Event, Events};

/// The state that one VM's connections share.
pub struct Server {
    pub dialer: Dialer,
    pub events: Arc<dyn Events>,
    pub turns: Turns,
}

impl Server {
    /// Connects. A denial is first emitted as an event, and returned when the event's credit is. So there are never
    /// more waiting events than connections.
    pub async fn dial(&self, target: &ProxyTarget) -> Result<TcpStream, DialError> {
        let result = self.dialer.connect(target).await;
        if let Err(DialError::Denied { target, denial }) = &result {
            let (credit, returned) = Credit::new();
            self.events.emit(Event::NetworkDenied {
                host: target.host.to_string(),
                port: target.port,
                reason: denial.reason(),
                credit,
            });
            returned.wait().await;
        }
        result
    }
}
