"""Programs to read, run and copy: `python -m examples.NAME`.

- tasks: `pubsub`, `bad_actor`, `schedule`, `background_work`
- network: `echo_server`, `forwarder`, `balancer`, `connect_proxy`, `socks5_proxy`, `framed_service` and its `framed_client`
- `tcpbalancer`: the image balancer, with backends and a client
"""
