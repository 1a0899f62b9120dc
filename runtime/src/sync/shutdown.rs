//! The request to stop, told once to everybody who listens.

use super::watch;

/// Requests the stop. Dropping it without a request requests it too: whoever owned it is gone.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Learns of the request to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// One trigger, and the first of its listeners.
pub fn shutdown() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownTrigger(sender), Shutdown(receiver))
}

impl ShutdownTrigger {
    /// Tells every listener, now and to come. May be called again.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Another listener.
    pub fn listener(&self) -> Shutdown {
        Shutdown(self.0.subscribe())
    }
}

impl Shutdown {
    /// Waits for the request; ready at once if it was made before.
    pub async fn requested(&self) {
        // An error says that the trigger is gone, which is a request too.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }

    /// Whether the request was made.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.is_closed()
    }
}
