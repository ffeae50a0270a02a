"""What an imperial unit is in the metric one; gallons are American."""

KM_PER_MILE = 1.609344
LITRES_PER_GALLON = 3.785411784
KPA_PER_PSI = 6.894757
