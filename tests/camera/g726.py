"""G.726 in packets as short as cameras make them: ffmpeg's encoder gives nothing before it has 256 ms of sound."""
import array
import ctypes

SAMPLE_RATE = 8000
PACKET_MS = 20
LINEAR, FIRST_CODEWORD_HIGH = 0, 1  # spandsp's G726_ENCODING_LINEAR and G726_PACKING_LEFT


class Encoder:
    """By spandsp, which comes with GStreamer's plugins. Codewords are packed as ATM does (ITU-T I.366.2), which is what
    rtpg726pay takes."""

    def __init__(self, kbps):
        self.library = ctypes.CDLL('libspandsp.so.2')
        self.library.g726_init.restype = ctypes.c_void_p
        self.library.g726_encode.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
        self.state = ctypes.c_void_p(self.library.g726_init(None, kbps * 1000, LINEAR, FIRST_CODEWORD_HIGH))

    def packets(self, sound, rate):
        """What 16-bit samples at a multiple of the sample rate become, in packets of 20 ms."""
        samples, step = array.array('h', sound), rate // SAMPLE_RATE
        # Means of neighbours: a filter that does for a hum and a beep.
        samples = array.array('h', (sum(samples[at:at + step]) // step for at in range(0, len(samples), step)))
        count = SAMPLE_RATE * PACKET_MS // 1000
        for at in range(0, len(samples), count):
            piece = samples[at:at + count]
            coded = ctypes.create_string_buffer(len(piece))
            size = self.library.g726_encode(self.state, coded, piece.tobytes(), len(piece))
            yield coded.raw[:size]
