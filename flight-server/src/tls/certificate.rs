//! The name in a certificate (X.509, RFC 5280), read from its DER.
//!
//! Only certificates that TLS has checked come here. The name is the subject's common name, or without one the first
//! subject alternative name that is a DNS name, an e-mail address or a URI. Two common names are ambiguous, so none.

/// ASN.1 tags.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// Alternative names: e-mail, DNS, URI.
const NAMES: [u8; 3] = [0x81, 0x82, 0x86];

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The name of whom a certificate is for.
pub(crate) fn name_in(der: &[u8]) -> Option<String> {
    let certificate = Elements(der).expect(SEQUENCE)?;
    let mut fields = Elements(Elements(certificate).expect(SEQUENCE)?);
    let (first, _) = fields.next()?;
    // The version may be left out; then the first field was the serial number.
    if first == VERSION {
        fields.next()?;
    }
    // Algorithm, issuer, validity.
    for _ in 0..3 {
        fields.expect(SEQUENCE)?;
    }
    let subject = fields.expect(SEQUENCE)?;
    let mut common_names = common_names(subject);
    match (common_names.pop(), common_names.pop()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        (None, _) => alternative_name(fields.find(|(tag, _)| *tag == EXTENSIONS)?.1),
    }
}

fn common_names(subject: &[u8]) -> Vec<String> {
    let sets = Elements(subject).filter(|(tag, _)| *tag == SET);
    let attributes = sets.flat_map(|(_, set)| Elements(set)).filter(|(tag, _)| *tag == SEQUENCE);
    attributes.filter_map(|(_, attribute)| common_name(attribute)).collect()
}

fn common_name(attribute: &[u8]) -> Option<String> {
    let mut parts = Elements(attribute);
    if parts.expect(OBJECT_IDENTIFIER)? != COMMON_NAME {
        return None;
    }
    let (tag, text) = parts.next()?;
    if ![UTF8_STRING, PRINTABLE_STRING, IA5_STRING].contains(&tag) {
        return None;
    }
    String::from_utf8(text.to_vec()).ok()
}

fn alternative_name(extensions: &[u8]) -> Option<String> {
    let extensions = Elements(Elements(extensions).expect(SEQUENCE)?);
    let mut values = extensions.filter_map(|(_, extension)| {
        let mut parts = Elements(extension);
        let is_it = parts.expect(OBJECT_IDENTIFIER)? == SUBJECT_ALTERNATIVE_NAME;
        // A switch may stand between the two.
        is_it.then(|| parts.find(|(tag, _)| *tag == OCTET_STRING))?.map(|(_, value)| value)
    });
    let mut names = Elements(Elements(values.next()?).expect(SEQUENCE)?);
    let (_, name) = names.find(|(tag, _)| NAMES.contains(tag))?;
    String::from_utf8(name.to_vec()).ok()
}

/// The elements of a piece of DER, as tag and contents, up to one that is malformed.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The contents of the next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        let (length, rest) = match usize::from(*length) {
            short @ ..0x80 => (short, rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
                // Longer than four bytes would be longer than any certificate; none at all is not DER.
                if !(1..=4).contains(&bytes.len()) {
                    return None;
                }
                (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, contents))
    }
}
