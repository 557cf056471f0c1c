//! Sockets between processes of one machine: messages, and descriptors that go with them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// More than any message has.
const LONGEST: usize = 64 << 10;
const MOST_DESCRIPTORS: usize = 4;

/// Two ends of a connection on which a message arrives whole, with its descriptors.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

pub fn send(socket: impl AsFd, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next message. An empty one: the other end is closed.
pub fn receive(socket: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut message = vec![0; LONGEST];
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(&mut message)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    message.truncate(received.bytes);
    let descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    Ok((message, descriptors.collect()))
}

/// The descriptor that comes with the next message.
pub fn receive_descriptor(socket: impl AsFd) -> io::Result<OwnedFd> {
    receive(socket)?.1.into_iter().next().ok_or_else(|| io::Error::other("no descriptor came"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptors_and_the_end_as_an_empty_one() {
        let (ours, theirs) = pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send(&theirs, b"first", &[writer.as_fd()]).unwrap();
        send(&theirs, b"second", &[]).unwrap();
        drop((theirs, writer));
        let (message, mut descriptors) = receive(&ours).unwrap();
        std::fs::File::from(descriptors.pop().unwrap()).write_all(b"through").unwrap();
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!((message.as_slice(), text.as_str()), (&b"first"[..], "through"));
        assert_eq!(receive(&ours).unwrap().0, b"second");
        assert_eq!(receive(&ours).unwrap().0, b"");
    }
}
