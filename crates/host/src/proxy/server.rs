//! The state that the connections of one VM's proxy share, and how they connect.

use std::sync::Arc;

use super::dial::{DialError, Dialer, Upstream};
use super::places::Activity;
use super::relay::{Relay, Turns};
use super::target::ProxyTarget;
use super::traffic::Traffic;
use crate::credit::Credit;
use crate::events::{Event, Events};

/// The state that one VM's connections share.
pub struct Server {
    pub dialer: Dialer,
    pub events: Arc<dyn Events>,
    pub turns: Turns,
    /// Counts the connections out of the VM.
    pub outside: Arc<Traffic>,
    /// Counts the connections to the VM's own names, which nobody asks about.
    pub inside: Traffic,
}

impl Server {
    /// How the bytes of a connection are copied.
    pub fn relay<'a>(&'a self, upstream: &Upstream, activity: &'a Activity) -> Relay<'a> {
        Relay {
            activity,
            turns: &self.turns,
            traffic: if upstream.is_outside {
                &self.outside
            } else {
                &self.inside
            },
        }
    }

    /// Connects. A denial is first emitted as an event, and returned when the event's credit is. So there are never
    /// more waiting events than connections.
    pub async fn dial(&self, target: &ProxyTarget) -> Result<Upstream, DialError> {
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
