//! Matrices for other programs: CSV and NPY.

use super::Matrix;
use std::fmt::Write;

/// All matrices as one table: matrix, row, column, value; entries that cannot be are left out.
pub fn to_csv(matrices: &[Matrix]) -> String {
    let mut text = String::from("matrix,row,column,value\n");
    for matrix in matrices {
        for (row, values) in matrix.rows.iter().zip(&matrix.values) {
            for (column, value) in matrix.columns.iter().zip(values) {
                if let Some(value) = value {
                    writeln!(text, "{},{row},{column},{value}", matrix.name).expect("a string");
                }
            }
        }
    }
    text
}

/// A matrix in NumPy's format (version 1.0): f64, little endian, C order, NaN where there is no
/// entry.
pub fn to_npy(matrix: &Matrix) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let shape = (matrix.rows.len(), matrix.columns.len());
    let mut header = format!(
        "{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, {}), }}",
        shape.0, shape.1
    );
    // The data begin at a multiple of 64 bytes, after a line break.
    let before = MAGIC.len() + 2;
    let padded = (before + header.len() + 1).next_multiple_of(64) - before;
    while header.len() + 1 < padded {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    let length = u16::try_from(header.len()).expect("a short header");
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    let entries = matrix.values.iter().flatten();
    bytes.extend(entries.flat_map(|x| x.unwrap_or(f64::NAN).to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        Matrix {
            name: "m".into(),
            title: String::new(),
            rows: vec!["1".into(), "write".into()],
            columns: vec!["read".into(), "1".into(), "2".into()],
            values: vec![
                vec![Some(-1.5), Some(2.25), Some(0.1)],
                vec![None, Some(3.0), Some(4.0)],
            ],
        }
    }

    #[test]
    fn csv_has_a_line_for_every_entry() {
        let expected = "matrix,row,column,value\nm,1,read,-1.5\nm,1,1,2.25\nm,1,2,0.1\n\
                        m,write,1,3\nm,write,2,4\n";
        assert_eq!(to_csv(&[matrix()]), expected);
    }

    #[test]
    fn npy_is_what_its_specification_says() {
        let bytes = to_npy(&matrix());
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + header) % 64, 0);
        let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
        assert!(text.contains("'shape': (2, 3)") && text.ends_with('\n'));
        let data = &bytes[10 + header..];
        assert_eq!(data.len(), 6 * 8);
        let entry = |i: usize| f64::from_le_bytes(data[8 * i..8 * i + 8].try_into().unwrap());
        assert_eq!((entry(0), entry(1), entry(5)), (-1.5, 2.25, 4.0));
        assert!(entry(3).is_nan());
    }
}
