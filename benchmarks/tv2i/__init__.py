"""CelebA-TV2I as the paper describes it, for whoever has a face set and a checkpoint: its tables, run through `batch`.

Three settings (a new scene, another style, a changed trait), two pictures a prompt, faces of 180 to 256 px on a canvas
of 512, places by the planner. The set itself was not published; prompts and the drawing of lots are ours.
"""
