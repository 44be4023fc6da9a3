"""TLS ended in the gateway itself. The certificate's files are read again when they change.

A listener keeps one SSLContext for its life; which certificate a handshake shows is chosen per handshake, from the pair
that was read last. So a new pair serves the next connection, and streams that run are not touched.
"""

import dataclasses
import datetime as dt
import pathlib
import ssl
from typing import Final

from cryptography import x509

from moorage.gateway.access_log import AccessLog
from moorage.gateway.settings import Settings, SettingsError

#: What a client may be told that is spoken here.
_PROTOCOLS: Final = ("http/1.1",)
#: A handshake that takes longer is given up.
HANDSHAKE_SECONDS: Final = 5.0


@dataclasses.dataclass(slots=True)
class TlsMetrics:
    """What operators see of the certificate."""

    reloads: int = 0
    reload_failures: int = 0
    #: Unix seconds at which the certificate that is shown ends.
    expires_at: float = 0.0


class Certificate:
    """The certificate chain and key of the listener, from two PEM files that others may replace at any time."""

    def __init__(self, *, certificate: pathlib.Path, key: pathlib.Path, log: AccessLog) -> None:
        """Read the pair. Raises SettingsError when it cannot be used: a gateway does not start without."""
        self._certificate = certificate
        self._key = key
        self._log = log
        self.metrics: Final = TlsMetrics()
        self._is_stale = False
        self._stamp = self._look()
        try:
            self._shown = self._read()
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"MOORAGE_GATEWAY_TLS_CERTIFICATE and MOORAGE_GATEWAY_TLS_KEY must be a PEM certificate chain and its"
                f" unencrypted key: {_reason(error)}"
            ) from error
        self.context: Final = _context()
        # Called in every handshake, with and without a name.
        self.context.sni_callback = self._choose

    def check(self) -> None:
        """Read the files again if they changed; call it about once a second and on SIGHUP.

        A pair that cannot be used (half of it written, say) changes nothing; it is tried again until it can.
        """
        stamp = self._look()
        is_new = stamp != self._stamp
        if not (is_new or self._is_stale):
            return
        self._stamp = stamp
        try:
            self._shown = self._read()
        except (OSError, ValueError) as error:
            if is_new:
                self.metrics.reload_failures += 1
                self._log.write("tls_certificate_refused", error=_reason(error))
            self._is_stale = True
            return
        self._is_stale = False
        self.metrics.reloads += 1
        self._log.write("tls_certificate_loaded", expires=self._expiry())

    def _look(self) -> tuple[tuple[int, int, int, int], ...]:
        """What changes when a file is written, replaced or linked elsewhere."""
        return tuple(_stamp(path) for path in (self._certificate, self._key))

    def _read(self) -> ssl.SSLContext:
        context = _context()
        # A key with a passphrase must fail, not ask a terminal for it.
        context.load_cert_chain(self._certificate, self._key, password=_no_passphrase)
        leaf = x509.load_pem_x509_certificate(self._certificate.read_bytes())
        self.metrics.expires_at = leaf.not_valid_after_utc.timestamp()
        return context

    def _expiry(self) -> str:
        return dt.datetime.fromtimestamp(self.metrics.expires_at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._shown


def configured(settings: Settings, *, log: AccessLog) -> Certificate | None:
    """The certificate of ``settings``, or None where none is named. Raises SettingsError."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificate(certificate=settings.tls_certificate, key=settings.tls_key, log=log)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(_PROTOCOLS))
    return context


def _no_passphrase() -> bytes:
    raise ValueError("the key is encrypted")


def _stamp(path: pathlib.Path) -> tuple[int, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0, 0)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _reason(error: Exception) -> str:
    """One line; never a line of the key."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0] if text else type(error).__name__
