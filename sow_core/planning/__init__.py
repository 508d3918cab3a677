"""Where the picture goes, what belongs to it, a fuller prompt: the paper's MLLM stages, with and without an MLLM.

`plan_layout` is the one way in; `schema.LayoutPlan` is what comes out. Nothing here imports torch, and a Google
package or the network is touched only when a planner that needs it runs.
"""
