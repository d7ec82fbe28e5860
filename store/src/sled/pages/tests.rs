//! Files in pages against files of bytes, under random operations.

use std::collections::BTreeMap;

use super::PagedFiles;

/// A generator that a seed determines: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

const NAMES: [&str; 3] = ["1.seg", "2.seg", "tail.new"];

fn read_all(files: &PagedFiles, name: &str) -> Option<Vec<u8>> {
    let file = files.open(name).unwrap()?;
    let mut bytes = vec![0xee; file.len() as usize + 10];
    let read = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(read);
    assert_eq!(read as u64, file.len());
    Some(bytes)
}

fn one(random: &mut Random, files: &PagedFiles, model: &mut BTreeMap<&str, Vec<u8>>) {
    let name = NAMES[random.below(3) as usize];
    let other = NAMES[random.below(3) as usize];
    let file = files.open(name).unwrap();
    assert_eq!(file.is_some(), model.contains_key(name));
    match random.below(16) {
        0 => {
            files.create(name).unwrap();
            model.insert(name, Vec::new());
        }
        1 => {
            assert_eq!(files.rename(name, other).unwrap(), file.is_some());
            if let Some(bytes) = model.remove(name) {
                model.insert(other, bytes);
            }
        }
        2 => assert_eq!(files.remove(name).unwrap(), model.remove(name).is_some()),
        kind => {
            let (Some(file), Some(bytes)) = (file, model.get_mut(name)) else {
                return;
            };
            let at = match kind % 3 {
                0 => bytes.len() as u64,
                _ => random.below(bytes.len() as u64 + 100),
            };
            match kind {
                3 => {
                    file.truncate(at).unwrap();
                    bytes.resize(at as usize, 0);
                }
                4 => {
                    file.reserve(at).unwrap();
                    bytes.resize(bytes.len().max(at as usize), 0);
                }
                _ => {
                    let length = match random.below(3) {
                        0 => random.below(20_000),
                        _ => random.below(600),
                    } as usize;
                    let written = vec![1 + random.below(255) as u8; length];
                    file.write_at(&written, at).unwrap();
                    let end = at as usize + length;
                    if length > 0 {
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[at as usize..end].copy_from_slice(&written);
                    }
                }
            }
        }
    }
}

#[test]
fn files_in_pages_are_files_of_bytes() {
    for seed in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(seed);
        let mut model = BTreeMap::new();
        let mut files = PagedFiles::new(folder.path());
        for step in 0..250 {
            one(&mut random, &files, &mut model);
            let name = NAMES[random.below(3) as usize];
            let found = read_all(&files, name);
            assert_eq!(found.as_ref(), model.get(name), "seed {seed}, step {step}");
            if let (Some(file), Some(bytes)) = (files.open(name).unwrap(), model.get(name)) {
                let at = random.below(bytes.len() as u64 + 1) as usize;
                let mut some = vec![0xee; random.below(9_000) as usize];
                let read = file.read_at(&mut some, at as u64).unwrap();
                let end = bytes.len().min(at + some.len());
                assert_eq!(some[..read], bytes[at..end], "seed {seed}, step {step}");
            }
            if random.below(60) == 0 {
                files.close();
                files = PagedFiles::new(folder.path());
            }
        }
        let mut names = files.names().unwrap();
        names.sort();
        assert_eq!(names, model.keys().copied().collect::<Vec<_>>());
        files.close();
    }
}
