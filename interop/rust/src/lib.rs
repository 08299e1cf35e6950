//! The stubs of the contract, and what its rules say about a message.

pub mod rules;

/// Messages and stubs for tonic.
pub mod gitpod_v1 {
    include!("../gen/prost/gitpod/v1/gitpod.v1.rs");
}

/// Messages for connectrpc.
pub mod messages {
    pub mod gitpod {
        pub mod v1 {
            include!("../gen/buffa/gitpod.v1.rs");
        }
    }
}

/// Stubs for connectrpc.
pub mod services {
    pub mod gitpod {
        pub mod v1 {
            include!("../gen/connect/gitpod.v1.rs");
        }
    }
}
