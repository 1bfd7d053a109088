//! Matrices as one archive of NumPy arrays.

use super::matrix::{Matrix, to_npy};
use flate2::Crc;

/// A zip archive with one array for each matrix, as `numpy.load` reads it; nothing is compressed.
pub fn to_npz(matrices: &[Matrix]) -> Vec<u8> {
    const LOCAL: u32 = 0x0403_4b50;
    const CENTRAL: u32 = 0x0201_4b50;
    const END: u32 = 0x0605_4b50;
    /// The version of the format, flags, method and time of every file, and 1 January 1980.
    const FIXED: [u16; 5] = [20, 0, 0, 0, 33];
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for matrix in matrices {
        let name = format!("{}.npy", matrix.name);
        let array = to_npy(matrix);
        let mut crc = Crc::new();
        crc.update(&array);
        let size = u32::try_from(array.len()).expect("a matrix below 4 GB");
        let start = u32::try_from(bytes.len()).expect("an archive below 4 GB");
        let length = u16::try_from(name.len()).expect("a short name");
        let mut common: Vec<u8> = FIXED.into_iter().flat_map(u16::to_le_bytes).collect();
        let sizes = [crc.sum(), size, size];
        common.extend(sizes.into_iter().flat_map(u32::to_le_bytes));
        common.extend([length, 0].into_iter().flat_map(u16::to_le_bytes));
        bytes.extend(LOCAL.to_le_bytes());
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(array);
        directory.extend(CENTRAL.to_le_bytes());
        directory.extend(FIXED[0].to_le_bytes());
        directory.extend(&common);
        // No comment, the first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(matrices.len()).expect("fewer than 65,536 matrices");
    let start = u32::try_from(bytes.len()).expect("an archive below 4 GB");
    let size = u32::try_from(directory.len()).expect("a directory below 4 GB");
    bytes.extend(directory);
    bytes.extend(END.to_le_bytes());
    bytes.extend([0, 0, count, count].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend([size, start].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([0; 2]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoints::StateFile;

    #[test]
    fn an_archive_is_read_back() {
        let matrix = |name: &str, values: [f64; 2]| Matrix {
            name: name.into(),
            title: String::new(),
            rows: vec!["1".into()],
            columns: vec!["1".into(), "2".into()],
            values: vec![values.map(Some).to_vec()],
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npz");
        let bytes = to_npz(&[matrix("one", [1.5, -2.0]), matrix("two", [0.1, 3.0])]);
        std::fs::write(&path, bytes).expect("written");
        let file = StateFile::open(&path).expect("an archive");
        for (name, values) in [("one", [1.5, -2.0]), ("two", [0.1, 3.0])] {
            let read = file.read(name).expect("an array").expect("there");
            assert_eq!((read.shape, read.values), (vec![1, 2], values.to_vec()));
        }
    }
}
