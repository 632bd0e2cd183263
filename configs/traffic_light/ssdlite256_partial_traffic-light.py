_base_ = '../_base_/ssdlite256_traffic-light.py'
model = dict(padding_cfg=dict(mode='partial'))
