"""The 90 clips of Weizmann into data/weizmann_videos/<action>/<person>_<action>.avi."""

import sys

from fetch_ucf101 import main

from twostream_utils.data.fetch import WEIZMANN

if __name__ == "__main__":
    sys.exit(main(None, __doc__, WEIZMANN, "weizmann"))
