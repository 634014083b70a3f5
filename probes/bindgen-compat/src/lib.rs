//! redbpf and bpf-sys were written for bindgen 0.59, whose parser panics on libclang 16 and later.
//! This crate carries that name and version and hands every call to a current bindgen.
//! It knows only the calls that those two build scripts make.

pub use current::Bindings;

/// The builder with the defaults of bindgen 0.59: C's `size_t` becomes `u64`, not `usize`.
pub struct Builder;

impl Builder {
    /// A current builder, set so that the generated types equal those of bindgen 0.59.
    #[allow(clippy::should_implement_trait)]
    pub fn default() -> current::Builder {
        current::Builder::default().size_t_is_usize(false)
    }
}

/// The free function of the same meaning as [`Builder::default`].
pub fn builder() -> current::Builder {
    Builder::default()
}
