"""The code of the chapters, in the order to read it:

profiles, splits, store         all sizes; classes, groups, splits; frames and fields on disk
flow                            optical flow: computed, stored in eight bits, drawn
views, stacks                   which frames and which crop; a clip as two tensors
vgg                             VGG-19 and its first layer
device, training, evaluation    where it runs; the loop; scores and intervals
fusion, conv_fusion             fusion of scores, with the table of all methods; of maps
course, files                   all of it together; writing a file whole or not at all
"""

__version__ = "0.1.0"
