//! Libraries in C: zlib, zlib-ng, whose names are the same, and libdeflate.

use std::{
    alloc::{Layout, alloc, dealloc},
    ffi::{c_int, c_uint, c_void},
    mem::MaybeUninit,
    ptr::NonNull,
    time::Duration,
};

use crate::library::{Deflater, Inflater, Setting, TAIL};

/// zlib's interface, as two packages have it.
macro_rules! zlib {
    ($module:ident, $package:ident) => {
        pub(crate) mod $module {
            use $package::*;

            use super::*;

            /// A stream. It is boxed, because the library notes where it is.
            struct Stream(Box<z_stream>);

            impl Stream {
                fn new(init: impl FnOnce(z_streamp) -> c_int) -> Self {
                    let mut stream = Box::new(MaybeUninit::<z_stream>::zeroed());
                    // SAFETY: zeros are valid but for the two functions, which are set before
                    // anybody reads them.
                    let stream = unsafe {
                        let at = stream.as_mut_ptr();
                        (&raw mut (*at).zalloc).write(allocate);
                        (&raw mut (*at).zfree).write(release);
                        Box::from_raw(Box::into_raw(stream).cast::<z_stream>())
                    };
                    let mut stream = Self(stream);
                    assert_eq!(init(&mut *stream.0), Z_OK);
                    stream
                }

                /// Gives input and room, and returns how much of the room was used.
                fn step(
                    &mut self,
                    input: &[u8],
                    output: &mut [u8],
                    step: unsafe extern "C" fn(z_streamp, c_int) -> c_int,
                ) -> usize {
                    self.0.next_in = input.as_ptr().cast_mut();
                    self.0.avail_in = input.len() as c_uint;
                    self.0.next_out = output.as_mut_ptr();
                    self.0.avail_out = output.len() as c_uint;
                    // SAFETY: both slices live until the call returns.
                    let status = unsafe { step(&mut *self.0, Z_SYNC_FLUSH) };
                    // Behind a final block nothing is taken.
                    let is_ended = status == Z_STREAM_END;
                    assert!(is_ended || self.0.avail_in == 0, "status {status}");
                    output.len() - self.0.avail_out as usize
                }
            }

            pub(crate) struct Deflate(Stream, bool);

            impl Deflate {
                pub(crate) fn new(setting: Setting) -> Self {
                    let window = -c_int::from(setting.window_bits);
                    let (level, memory) = (setting.level.into(), setting.memory_level.into());
                    let size = size_of::<z_stream>() as c_int;
                    // SAFETY: the stream is as zlib's manual wants it.
                    let stream = Stream::new(|stream| unsafe {
                        deflateInit2_(
                            stream,
                            level,
                            Z_DEFLATED,
                            window,
                            memory,
                            0,
                            zlibVersion(),
                            size,
                        )
                    });
                    Self(stream, setting.is_dedicated)
                }
            }

            impl Deflater for Deflate {
                fn reset(&mut self) {
                    // SAFETY: the stream has been initialised.
                    assert_eq!(unsafe { deflateReset(&mut *self.0.0) }, Z_OK);
                }

                fn deflate(&mut self, message: &[u8], output: &mut [u8]) -> usize {
                    if !self.1 {
                        self.reset();
                    }
                    self.0.step(message, output, deflate) - TAIL.len()
                }
            }

            impl Drop for Deflate {
                fn drop(&mut self) {
                    // SAFETY: the stream has been initialised, and is not used again.
                    unsafe { deflateEnd(&mut *self.0.0) };
                }
            }

            pub(crate) struct Inflate(Stream);

            impl Inflate {
                pub(crate) fn new() -> Self {
                    let size = size_of::<z_stream>() as c_int;
                    // SAFETY: the stream is as zlib's manual wants it.
                    let init = |stream| unsafe { inflateInit2_(stream, -15, zlibVersion(), size) };
                    Self(Stream::new(init))
                }
            }

            impl Inflater for Inflate {
                fn reset(&mut self) {
                    // SAFETY: the stream has been initialised.
                    assert_eq!(unsafe { inflateReset(&mut *self.0.0) }, Z_OK);
                }

                fn inflate(&mut self, payload: &[u8], output: &mut [u8]) -> usize {
                    let made = self.0.step(payload, output, inflate);
                    made + self.0.step(&TAIL, &mut output[made..], inflate)
                }
            }

            impl Drop for Inflate {
                fn drop(&mut self) {
                    // SAFETY: the stream has been initialised, and is not used again.
                    unsafe { inflateEnd(&mut *self.0.0) };
                }
            }
        }
    };
}

zlib!(zlib, libz_sys);
zlib!(zlib_ng, libz_ng_sys);

pub(crate) mod libdeflate {
    use libdeflate_sys::*;

    use super::*;

    /// Ends each message with a final block, since it knows no flush (RFC 7692 §7.2.3.4).
    pub(crate) struct Deflate(NonNull<libdeflate_compressor>);

    impl Deflate {
        pub(crate) fn new(setting: Setting) -> Self {
            count_memory();
            // SAFETY: any level is answered, with null if there is none such.
            let compressor = unsafe { libdeflate_alloc_compressor(setting.level.into()) };
            Self(NonNull::new(compressor).expect("a level that there is"))
        }
    }

    impl Deflater for Deflate {
        fn reset(&mut self) {}

        fn deflate(&mut self, message: &[u8], output: &mut [u8]) -> usize {
            let (input, room) = (message.as_ptr().cast(), output.len());
            let out = output.as_mut_ptr().cast();
            // SAFETY: both slices live until the call returns.
            let length = unsafe {
                libdeflate_deflate_compress(self.0.as_ptr(), input, message.len(), out, room)
            };
            assert!(length > 0, "there is room");
            output[length] = 0;
            length + 1
        }
    }

    impl Drop for Deflate {
        fn drop(&mut self) {
            // SAFETY: it is not used again.
            unsafe { libdeflate_free_compressor(self.0.as_ptr()) };
        }
    }

    /// Takes whole messages only, with a final block after them.
    pub(crate) struct Inflate(NonNull<libdeflate_decompressor>, Vec<u8>);

    impl Inflate {
        pub(crate) fn new() -> Self {
            count_memory();
            // SAFETY: null is looked for.
            let decompressor = unsafe { libdeflate_alloc_decompressor() };
            Self(NonNull::new(decompressor).expect("memory"), Vec::new())
        }
    }

    impl Inflater for Inflate {
        fn reset(&mut self) {}

        fn inflate(&mut self, payload: &[u8], output: &mut [u8]) -> usize {
            self.1.clear();
            self.1.extend_from_slice(payload);
            self.1.extend_from_slice(b"\x00\x00\xff\xff\x01\x00\x00\xff\xff");
            let (input, out) = (self.1.as_ptr().cast(), output.as_mut_ptr().cast());
            let mut length = 0;
            // SAFETY: both slices and the length live until the call returns.
            let status = unsafe {
                libdeflate_deflate_decompress(
                    self.0.as_ptr(),
                    input,
                    self.1.len(),
                    out,
                    output.len(),
                    &mut length,
                )
            };
            assert_eq!(status, 0, "a good payload");
            length
        }
    }

    impl Drop for Inflate {
        fn drop(&mut self) {
            // SAFETY: it is not used again.
            unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
        }
    }

    fn count_memory() {
        // SAFETY: the two belong together.
        unsafe { libdeflate_set_memory_allocator(allocate_bytes, release_bytes) };
    }
}

unsafe extern "C" fn allocate(_: *mut c_void, items: c_uint, size: c_uint) -> *mut c_void {
    // SAFETY: as of the other.
    unsafe { allocate_bytes(items as usize * size as usize) }
}

unsafe extern "C" fn release(_: *mut c_void, at: *mut c_void) {
    // SAFETY: as of the other.
    unsafe { release_bytes(at) }
}

/// From Rust's allocator, so that the memory of all libraries is counted in the same place.
unsafe extern "C" fn allocate_bytes(bytes: usize) -> *mut c_void {
    let layout = Layout::from_size_align(bytes + HEADER, HEADER).expect("a size");
    // SAFETY: the size is not zero. What lies before the bytes says how many there are.
    unsafe {
        let at = alloc(layout);
        assert!(!at.is_null());
        at.cast::<usize>().write(bytes);
        at.add(HEADER).cast()
    }
}

unsafe extern "C" fn release_bytes(at: *mut c_void) {
    if at.is_null() {
        return;
    }
    // SAFETY: it came from the function above.
    unsafe {
        let at = at.cast::<u8>().sub(HEADER);
        let bytes = at.cast::<usize>().read();
        dealloc(at, Layout::from_size_align_unchecked(bytes + HEADER, HEADER));
    }
}

/// What lies before each piece of memory; a multiple of any alignment.
const HEADER: usize = 64;

/// What this thread has used of a processor.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place lives until the call returns.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Rust's allocator, counting.
pub(crate) mod memory {
    use std::{
        alloc::{GlobalAlloc, Layout, System},
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    struct Counting;

    static HELD: AtomicUsize = AtomicUsize::new(0);

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    // SAFETY: the system's allocator does all of it.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            HELD.fetch_add(layout.size(), Relaxed);
            // SAFETY: as the caller promises.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            HELD.fetch_sub(layout.size(), Relaxed);
            // SAFETY: as the caller promises.
            unsafe { System.dealloc(at, layout) }
        }
    }

    /// Bytes that are allocated now.
    pub(crate) fn held_bytes() -> usize {
        HELD.load(Relaxed)
    }
}
