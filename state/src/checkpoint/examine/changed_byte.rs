//! Which byte of a file was changed, if only one was: its checksum tells.
//!
//! A CRC is linear: two files of one length that differ in one byte have checksums whose difference depends only on the
//! difference of the byte and on the number of bytes after it. So the difference is taken back byte by byte from the end
//! of the file, until it is one that a single byte makes.

/// Largest file that is searched. In larger ones, damage of several bytes would often look like that of one.
const MOST: usize = 16 << 20;

/// The checksum of each byte, as in every implementation of CRC-32 (polynomial 0xEDB88320, reflected).
const TABLE: [u32; 256] = {
    let (mut table, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The byte whose checksum begins with this one: all 256 begin differently.
const BEGINS: [u8; 256] = {
    let (mut begins, mut byte) = ([0; 256], 0);
    while byte < 256 {
        begins[(TABLE[byte] >> 24) as usize] = byte as u8;
        byte += 1;
    }
    begins
};

/// Returns the offset of the byte whose change explains that a file of `len` bytes has the checksum `found` instead of
/// `wanted`, if there is exactly one such byte.
pub(super) fn offset(len: usize, wanted: u32, found: u32) -> Option<usize> {
    if len > MOST {
        return None;
    }
    let (mut difference, mut explained) = (wanted ^ found, None);
    for at in (0..len).rev() {
        let byte = BEGINS[(difference >> 24) as usize];
        let of_byte = TABLE[usize::from(byte)];
        if byte != 0 && of_byte == difference && explained.replace(at).is_some() {
            return None;
        }
        difference = ((difference ^ of_byte) << 8) | u32::from(byte);
    }
    explained
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_found_wherever_it_is() {
        let whole: Vec<u8> = (0..2000_u32).map(|n| (n * n) as u8).collect();
        let wanted = crc32fast::hash(&whole);
        for at in 0..whole.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                assert_eq!(offset(changed.len(), wanted, crc32fast::hash(&changed)), Some(at));
            }
        }
        let mut changed = whole;
        changed[3] ^= 7;
        changed[1200] ^= 7;
        assert_eq!(offset(changed.len(), wanted, crc32fast::hash(&changed)), None);
    }
}
