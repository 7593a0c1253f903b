"""The two keys of a repository and their files.

The *master* key signs the whitelist; its public half is what clients install. The
*repository* key signs every manifest; its certificate is an object in the repository
and named by the whitelist. All are RSA with 2048 bits, which is what every client
knows.

Source: cvmfs/server/cvmfs_server_ssl.sh, crypto/signature.cc; cvmfs-format.md 5.4.
"""

import errno
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID

from workers.cvmfs.errors import InvalidKeys
from workers.cvmfs.storage.local import make_public_folder
from workers.cvmfs.values.fqrn import check_fqrn

_BITS = 2048
_EXPONENT = 65537
_CERTIFICATE_DAYS = 3650
"""Nobody looks at a certificate's dates: the whitelist decides. But a date long gone
would look like the fault in every search for one."""

_MASTER, _PUBLIC, _PRIVATE, _CERTIFICATE = ".masterkey", ".pub", ".key", ".crt"
_MODES = {_MASTER: 0o400, _PUBLIC: 0o444, _PRIVATE: 0o400, _CERTIFICATE: 0o444}


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What signing a repository takes.

    Attributes:
        fqrn: the repository the keys are for.
        public_key: of the master key.
        repository_key: signs manifests.
        certificate_pem: of the repository key, as stored: its object is made of these
            very bytes.
        master_key: signs whitelists; ``None`` where it is kept elsewhere.
    """

    fqrn: str
    public_key: rsa.RSAPublicKey
    repository_key: rsa.RSAPrivateKey
    certificate_pem: bytes
    master_key: rsa.RSAPrivateKey | None

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate itself."""
        return parse_certificate(self.certificate_pem)

    @classmethod
    def generate(cls, fqrn: str, *, now: int) -> "KeyRing":
        """Make new keys, in memory."""
        check_fqrn(fqrn)
        master_key = rsa.generate_private_key(_EXPONENT, _BITS)
        repository_key = rsa.generate_private_key(_EXPONENT, _BITS)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, fqrn)])
        begin = datetime.fromtimestamp(now, UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(repository_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=_CERTIFICATE_DAYS))
            .sign(repository_key, hashes.SHA256())
        )
        return cls(
            fqrn,
            master_key.public_key(),
            repository_key,
            certificate.public_bytes(Encoding.PEM),
            master_key,
        )

    @classmethod
    def load(cls, fqrn: str, directory: Path) -> "KeyRing":
        """Read the keys of a repository; only the master key may be missing.

        Raises:
            InvalidKeys: a file is missing, unreadable, or belongs to another one.
        """
        check_fqrn(fqrn)
        found = _settled(fqrn, directory)
        missing = [suffix for suffix in _MODES if suffix not in {*found, _MASTER}]
        if missing:
            raise InvalidKeys(
                f"{directory} has of the keys of {fqrn}"
                f" {', '.join(sorted(found)) or 'none'} but not {', '.join(missing)}:"
                " restore the files, or move all of them away to begin anew"
            )
        return cls.of_files(
            fqrn, {suffix: _read(directory / f"{fqrn}{suffix}") for suffix in found}
        )

    @classmethod
    def is_there(cls, fqrn: str, directory: Path) -> bool:
        """Tell whether there are keys of a repository, or some of them."""
        check_fqrn(fqrn)
        return bool(_settled(fqrn, directory))

    @classmethod
    def load_or_create(cls, fqrn: str, directory: Path, *, now: int) -> "KeyRing":
        """Read the keys of a repository, or make them where there are none at all.

        Raises:
            InvalidKeys: as ``load``; half a set is never completed.
        """
        check_fqrn(fqrn)
        if not _settled(fqrn, directory):
            try:
                _write_draft(fqrn, directory, cls.generate(fqrn, now=now).files())
            except OSError as error:
                raise InvalidKeys(f"{directory}: {error.strerror}") from error
        return cls.load(fqrn, directory)

    @classmethod
    def of_files(cls, fqrn: str, files: dict[str, bytes]) -> "KeyRing":
        """Put the ring together from its files' contents, by suffix, and check it.

        Raises:
            InvalidKeys: one cannot be read, or they do not belong together.
        """
        master_key = (
            _private_key(files[_MASTER], fqrn + _MASTER) if _MASTER in files else None
        )
        repository_key = _private_key(files[_PRIVATE], fqrn + _PRIVATE)
        public_key = parse_public_key(files[_PUBLIC])
        certificate = parse_certificate(files[_CERTIFICATE])
        if certificate.public_key() != repository_key.public_key():
            raise InvalidKeys(f"{fqrn}.crt is not the certificate of {fqrn}.key")
        if master_key is not None and master_key.public_key() != public_key:
            raise InvalidKeys(f"{fqrn}.pub is not the public half of {fqrn}.masterkey")
        return cls(fqrn, public_key, repository_key, files[_CERTIFICATE], master_key)

    def secret(self) -> bytes:
        """Return the repository key as bytes, for other keys to be derived from it.

        The same from whatever file it was read.
        """
        return self.repository_key.private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        )

    def files(self) -> dict[str, bytes]:
        """Return the files' contents, all PEM, by suffix."""
        files = {
            _PUBLIC: self.public_key.public_bytes(
                Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
            ),
            _PRIVATE: _pem(self.repository_key),
            _CERTIFICATE: self.certificate_pem,
        }
        if self.master_key is not None:
            files[_MASTER] = _pem(self.master_key)
        return files


def parse_public_key(pem: bytes) -> rsa.RSAPublicKey:
    """Read a public key, as clients have it installed.

    Raises:
        InvalidKeys: not an RSA key in PEM.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKeys("not a public key in PEM") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidKeys("not an RSA key")
    return key


def parse_certificate(pem: bytes) -> x509.Certificate:
    """Read a certificate; of several, the first counts.

    Raises:
        InvalidKeys: not a certificate of an RSA key in PEM.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidKeys("not a certificate in PEM") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidKeys("not the certificate of an RSA key")
    return certificate


def public_key_of(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    """Return the key in a certificate that ``parse_certificate`` has read."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidKeys("not the certificate of an RSA key")
    return key


def _private_key(pem: bytes, what: str) -> rsa.RSAPrivateKey:
    try:
        # Proving its primes takes 50 ms, a good part of what publishing a small image
        # takes. A signature that holds proves as much of a file that is our own.
        key = load_pem_private_key(
            pem, password=None, unsafe_skip_rsa_key_validation=True
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidKeys(f"{what} is not a private key in PEM") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidKeys(f"{what} is not an RSA key")
    _prove(key, what)
    return key


def _prove(key: rsa.RSAPrivateKey, what: str) -> None:
    try:
        signature = key.sign(b"proof", padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(
            signature, b"proof", padding.PKCS1v15(), hashes.SHA256()
        )
    except (ValueError, InvalidSignature) as error:
        raise InvalidKeys(f"{what} is damaged: restore it from a copy") from error


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )


def _settled(fqrn: str, directory: Path) -> list[str]:
    """Return which files there are, when nobody is moving a set into place."""
    for _ in range(2):
        # Whoever sees half a set may have looked while another process was moving it;
        # the second time, that set is waiting to be adopted, or all there.
        _adopt(fqrn, directory)
        found = _present(fqrn, directory)
        if len(found) in (0, len(_MODES)):
            break
    return found


def _present(fqrn: str, directory: Path) -> list[str]:
    return [suffix for suffix in _MODES if (directory / f"{fqrn}{suffix}").exists()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidKeys(f"{path}: {error.strerror}") from error


def _write_draft(fqrn: str, directory: Path, files: dict[str, bytes]) -> None:
    """Write a set and call it complete, unless another complete one waits there."""
    make_public_folder(directory.absolute())  # public keys are for everybody
    draft = Path(tempfile.mkdtemp(prefix=f".{fqrn}-", dir=directory))
    try:
        for suffix, content in files.items():
            _write(draft / f"{fqrn}{suffix}", content, _MODES[suffix])
        _sync(draft)
        draft.rename(_complete(fqrn, directory))
    except OSError as error:
        for path in draft.iterdir():
            path.unlink()
        draft.rmdir()
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(descriptor, mode)  # whatever the umask
        os.fsync(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _complete(fqrn: str, directory: Path) -> Path:
    """The folder that holds a complete set which has not been moved into place."""
    return directory / f".{fqrn}.new"


def _adopt(fqrn: str, directory: Path) -> None:
    """Move a complete set into place, whoever was killed while doing so.

    A file that is in place already stays: then this set came second.
    """
    complete = _complete(fqrn, directory)
    if not complete.is_dir():
        return
    try:
        for suffix in _MODES:
            waiting = complete / f"{fqrn}{suffix}"
            # Another process may be doing the same: a file gone has been moved.
            with suppress(FileNotFoundError):
                if (directory / waiting.name).exists():
                    waiting.unlink()
                else:
                    waiting.rename(directory / waiting.name)
        _sync(directory)
        complete.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            # Another process has moved its set onto the folder that we had emptied.
            _adopt(fqrn, directory)
            return
        raise InvalidKeys(f"{complete}: {error.strerror}") from error
