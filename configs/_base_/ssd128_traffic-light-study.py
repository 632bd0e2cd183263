# A detector small enough to be trained many times over on a CPU: the traffic-light detector at 128 px,
# with SSD's own head, for lights of 10 to 32 px. Every strided layer consumes its padding on one side
# only.
_base_ = './ssdlite256_traffic-light.py'

input_size = 128
model = dict(
    bbox_head=dict(
        use_depthwise=False,
        anchor_generator=dict(
            ratios=[[2]] * 5,
            min_sizes=[6, 10, 17, 28, 50],
            max_sizes=[10, 17, 28, 50, 80],
        ),
    ),
    # Anchors that overlap a light a little are hard to tell from its own: learning starts sooner
    # without them.
    train_cfg=dict(assigner=dict(neg_iou_thr=0.2)),
)

data_root = 'data/traffic_lights_study/'
# Nothing random: a training that was interrupted goes on as if it had not been.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
# More and smaller steps: the plateau that comes before learning is so many steps long.
train_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
