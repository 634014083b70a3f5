//! What the packet tests share: namespaces, links, packets, observers.
