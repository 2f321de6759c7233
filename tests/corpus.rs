//! Everything that fuzzing has kept, through the same functions: inputs that reach different code
//! in `fuzz/corpus`, and every one that once showed a fault in `fuzz/crashes`.
#![allow(unreachable_pub, reason = "a test has no outside")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use std::{fs, path::Path};

mod fuzz_targets;

use fuzz_targets::TARGETS;

#[test]
fn what_fuzzing_has_kept_is_right() {
    for (name, target) in TARGETS {
        let mut count = 0;
        for kind in ["corpus", "crashes"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(name);
            let Ok(files) = fs::read_dir(&folder) else { continue };
            for file in files {
                let path = file.unwrap().path();
                let data = fs::read(&path).unwrap();
                let caught = std::panic::catch_unwind(|| target(&data));
                assert!(caught.is_ok(), "{} fails with {}", name, path.display());
                count += 1;
            }
        }
        assert!(count > 0, "there is nothing to replay for {name}");
    }
}
