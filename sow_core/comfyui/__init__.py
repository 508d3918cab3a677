"""The client side of a running ComfyUI server. (The node pack itself is `nodes/`, beside this package.)"""
