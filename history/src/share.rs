//! How much of the room one tenant may take. Pure.

/// What is kept of a tenant's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    Everything,
    /// Records without bodies.
    Records,
    Nothing,
}

/// Decides what is kept of a tenant that has so many bytes. One tenant's bodies may take a quarter of the room, and its
/// records half: so others keep their places, however much one sends. A tenant that is alone may take everything.
pub(crate) fn keeps(tenant_bytes: u64, other_bytes: u64, max_bytes: u64) -> Keeps {
    match () {
        () if other_bytes == 0 || tenant_bytes < max_bytes / 4 => Keeps::Everything,
        () if tenant_bytes < max_bytes / 2 => Keeps::Records,
        () => Keeps::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_leaves_room_to_others() {
        assert_eq!(keeps(24, 1, 100), Keeps::Everything);
        assert_eq!(keeps(25, 1, 100), Keeps::Records);
        assert_eq!(keeps(50, 1, 100), Keeps::Nothing);
        assert_eq!(keeps(99, 0, 100), Keeps::Everything, "a tenant that is alone");
    }
}
