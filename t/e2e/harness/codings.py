"""Content codings undone as they come: gzip by zlib, zstd and br by their libraries."""

import ctypes
import zlib

ROOM = 65536


class Gzip:
    def __init__(self):
        self.z = zlib.decompressobj(31)

    def feed(self, data):
        return self.z.decompress(data)

    def is_done(self):
        return self.z.eof and not self.z.unused_data


class _Buffer(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t)]


class Zstd:
    def __init__(self):
        self.lib = ctypes.CDLL("libzstd.so.1")
        self.lib.ZSTD_createDStream.restype = ctypes.c_void_p
        self.lib.ZSTD_decompressStream.restype = ctypes.c_size_t
        self.lib.ZSTD_decompressStream.argtypes = [ctypes.c_void_p] * 3
        self.lib.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
        self.z, self.left = self.lib.ZSTD_createDStream(), 1

    def feed(self, data):
        data, out, got = bytes(data), ctypes.create_string_buffer(ROOM), []
        came = _Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)
        while True:
            room = _Buffer(ctypes.cast(out, ctypes.c_void_p), ROOM, 0)
            if came.pos == came.size and self.left == 0:
                return b"".join(got)
            self.left = self.lib.ZSTD_decompressStream(self.z, ctypes.byref(room),
                                                       ctypes.byref(came))
            assert not self.lib.ZSTD_isError(ctypes.c_size_t(self.left)), "no zstd"
            got.append(out.raw[:room.pos])
            if came.pos == came.size and room.pos < ROOM:
                return b"".join(got)

    def is_done(self):
        return self.left == 0


class Br:
    def __init__(self):
        self.lib = ctypes.CDLL("libbrotlidec.so.1")
        self.lib.BrotliDecoderCreateInstance.restype = ctypes.c_void_p
        self.lib.BrotliDecoderCreateInstance.argtypes = [ctypes.c_void_p] * 3
        self.lib.BrotliDecoderDecompressStream.argtypes = [ctypes.c_void_p] * 6
        self.lib.BrotliDecoderIsFinished.argtypes = [ctypes.c_void_p]
        self.z = self.lib.BrotliDecoderCreateInstance(None, None, None)

    def feed(self, data):
        data, out, got = bytes(data), ctypes.create_string_buffer(ROOM), []
        left = ctypes.c_size_t(len(data))
        at = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
        while True:
            room, to = ctypes.c_size_t(ROOM), ctypes.cast(out, ctypes.c_void_p)
            rc = self.lib.BrotliDecoderDecompressStream(
                self.z, ctypes.byref(left), ctypes.byref(at), ctypes.byref(room),
                ctypes.byref(to), None)
            assert rc != 0, "no br"
            got.append(out.raw[:ROOM - room.value])
            if rc != 3:  # 3: needs more room
                return b"".join(got)

    def is_done(self):
        return bool(self.lib.BrotliDecoderIsFinished(self.z))


DECODERS = {"gzip": Gzip, "zstd": Zstd, "br": Br}


def decode(coding, data):
    """The whole of it, which must be whole."""
    decoder = DECODERS[coding]()
    got = decoder.feed(data)
    assert decoder.is_done(), f"{coding} breaks off after {len(got)} bytes"
    return got
